"""A pretrained model and its tokenizer, offline, and any model that transformers can load.

    sentence ── tokenizer ──> h (B, T, d) ── mean over real tokens ──> z (B, d) ── classifier ──> logits (B, labels)

The built-in encoder was trained to be read out by the mean of its last layer, so that is its read-out here; only
the classifier is new. `new_modules` names what has no pretrained value: adapting freezes everything else, and
these must stay trainable.
"""

import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import ENDPOINT
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertModel, BertPreTrainedModel
from transformers.utils import logging

from lorakit import smollm2
from lorakit.architectures import architecture
from lorakit.assets import Unavailable, fetch
from lorakit.modes import evaluating

__all__ = ["MeanPooledClassifier", "architecture", "load_causal_lm", "load_classifier", "mean_pool", "sentence_vectors"]

CLASSIFIERS = {"minilm": partial(fetch, "minilm"), "minilm-sre": partial(fetch, "minilm-sre")}
DECODERS = {"smollm2": smollm2.unpacked}
HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2", "smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}


class MeanPooledClassifier(BertPreTrainedModel):
    """logits = W·mean(BERT(x)) + b over the tokens that are not padding; one label means regression."""

    new_modules = ("classifier",)
    _keys_to_ignore_on_load_missing = [r"classifier\."]  # noqa: RUF012 (the spelling of transformers)
    _keys_to_ignore_on_load_unexpected = [r"pooler\.", r"position_ids"]  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state  # (B, T, d)
        logits = self.classifier(mean_pool(hidden, attention_mask))  # (B, labels)
        return SequenceClassifierOutput(loss=None if labels is None else self.loss(logits, labels), logits=logits)

    def loss(self, logits, labels):
        if self.num_labels == 1:
            return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return F.cross_entropy(logits, labels)


def mean_pool(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean of `hidden` (B, T, d) over the tokens whose mask (B, T) is 1: (B, d)."""
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


@torch.no_grad()
def sentence_vectors(model: nn.Module, tokenizer, texts: Iterable[str], *, length: int = 64) -> torch.Tensor:
    """What the encoder below the classifier makes of each text, (texts, d), as vectors of length 1; dropout is off."""
    words = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=length)
    words = words.to(next(model.parameters()).device)
    encoder: Any = model.base_model
    with evaluating(model):
        hidden = encoder(**words).last_hidden_state  # (B, T, d)
    return F.normalize(mean_pool(hidden, words["attention_mask"]), dim=1)


def load_classifier(name="minilm", labels=2, *, seed=0, dtype=torch.float32, device=None):
    """(model, tokenizer): a pretrained encoder under a new classifier for `labels` classes, in eval mode.

    `name` is "minilm" (MiniLM-L6, d = 384, 22.7M parameters), "minilm-sre" (the same, fully fine-tuned by
    others), a local folder, or a hub id. What is new starts from `seed` alone: the global random state is
    neither read nor moved. Raises OSError where the model can be neither found nor fetched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = MeanPooledClassifier if name in CLASSIFIERS else AutoModelForSequenceClassification
        return _load(kind, name, CLASSIFIERS, device, dtype=dtype, num_labels=labels)


def load_causal_lm(name="smollm2", *, dtype=torch.float32, device=None):
    """(model, tokenizer): a pretrained decoder with its language-model head, in eval mode.

    `name` is "smollm2" (SmolLM2-135M-Instruct, d = 576, 30 layers; its weights were published in 4 bits and are
    expanded to float32, once), a local folder, or a hub id. Raises OSError as `load_classifier` does.
    """
    return _load(AutoModelForCausalLM, name, DECODERS, device, dtype=dtype)


def _load(kind, name, packaged, device, **options):
    """From the pinned package; where that cannot be had, from a hub; where neither answers, say the former."""
    try:
        model, tokenizer = _from(kind, packaged[name]() if name in packaged else name, device, options)
    except Unavailable as nowhere:
        try:
            return _from(kind, HUB[name], device, options)
        except (KeyError, OSError):
            raise nowhere from None
    except OSError as error:
        built_in, said = ", ".join(packaged), str(error).splitlines()[0]
        raise OSError(f"{name!r} is not built in ({built_in}), and transformers has no such model: {said}") from error
    model.config._name_or_path = HUB.get(name, name)  # what an adapter's file will name as its base: no cache's path
    return model, tokenizer


def _from(kind, source, device, options):
    where = {"local_files_only": Path(source).is_dir() or not _hub_answers(), "trust_remote_code": False}
    options |= {"adapter_kwargs": {"local_files_only": where["local_files_only"]}, "use_safetensors": True}
    with _without_bar():
        model, info = kind.from_pretrained(source, output_loading_info=True, **where, **options)
    if not hasattr(model, "new_modules"):
        model.new_modules = tuple(sorted({key.rpartition(".")[0] for key in info["missing_keys"]}))
    return model.to(device), _padded(AutoTokenizer.from_pretrained(source, **where), model)


def _hub_answers():
    """One short question; without it a misspelt name waits through a minute of retries where there is no network."""
    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def _without_bar():
    """A load of half a second needs no progress bar, and a lesson's output is better without it."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


def _padded(tokenizer, model):
    """A decoder's tokenizer often has no padding token; the mask hides whatever stands there."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer
