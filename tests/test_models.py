"""Loading: the read-out against algebra, the conversion against transformers, the counts against the paper."""

import gguf
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaModel,
)

from lorakit import architectures, assets, models, smollm2
from lorakit.models import MeanPooledClassifier, architecture, load_causal_lm, load_classifier

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "film"]


def tiny_bert():
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=30, max_position_embeddings=16, **SIZES)).eval()


def saved(model, folder):
    """`model` and a tokenizer of eight words in a folder."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache whose "minilm" is tiny."""
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path))
    folder = tmp_path / f"minilm-{assets.named('minilm').sha256[:12]}"
    folder.mkdir()
    return saved(tiny_bert(), folder)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No cache, no pip, no hub."""
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path))
    monkeypatch.setattr("lorakit.assets.downloading.PIP", "no_such_module")
    monkeypatch.setattr(models, "_hub_answers", lambda: False)


def test_the_read_out_is_the_mean_over_real_tokens(tiny):
    torch.manual_seed(0)
    model = MeanPooledClassifier(BertConfig(vocab_size=30, num_labels=3, **SIZES)).double().eval()
    ids = tiny.tokens(2, 6)
    hidden = model.bert(ids[1:, :4]).last_hidden_state[0]  # the second row alone, without its padding
    expected = model.classifier.weight @ hidden.mean(0) + model.classifier.bias
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    torch.testing.assert_close(model(ids, mask).logits[1], expected)
    torch.testing.assert_close(model(ids).logits[0], model(ids, mask).logits[0])


def test_the_loss_is_cross_entropy_or_for_one_label_the_squared_error(tiny):
    model = MeanPooledClassifier(BertConfig(vocab_size=30, num_labels=3, **SIZES)).eval()
    labels = torch.tensor([0, 2])
    output = model(tiny.tokens(2), labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    assert model(tiny.tokens(2)).loss is None
    model = MeanPooledClassifier(BertConfig(vocab_size=30, num_labels=1, **SIZES)).eval()
    output = model(tiny.tokens(2), labels=labels)
    torch.testing.assert_close(output.loss, ((output.logits[:, 0] - labels) ** 2).mean())


def test_the_built_in_encoder_loads_with_a_new_classifier_only(cached):
    model, tokenizer = load_classifier("minilm", 3)
    assert isinstance(model, MeanPooledClassifier)
    assert model.new_modules == ("classifier",)
    assert not model.training
    assert model.classifier.weight.shape == (3, 16)
    for name, weight in BertModel.from_pretrained(cached, add_pooling_layer=False).state_dict().items():
        assert torch.equal(model.bert.state_dict()[name], weight), name
    assert tokenizer("a fine film")["input_ids"] == [2, 5, 6, 7, 3]
    assert model.config._name_or_path == "sentence-transformers/all-MiniLM-L6-v2"  # not where this cache is


def test_the_classifier_is_drawn_from_its_seed_and_nothing_else(cached):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = load_classifier("minilm")[0].classifier.weight
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(8)
    assert torch.equal(load_classifier("minilm")[0].classifier.weight, first)
    assert not torch.equal(load_classifier("minilm", seed=1)[0].classifier.weight, first)
    assert 0 < first.std() < 0.1


def test_dtype(cached):
    assert load_classifier("minilm", dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_any_folder_says_which_of_its_modules_are_new(tmp_path):
    torch.manual_seed(0)
    roberta = RobertaModel(RobertaConfig(vocab_size=30, max_position_embeddings=16, **SIZES), add_pooling_layer=False)
    model, _ = load_classifier(str(saved(roberta, tmp_path)), 2)
    assert model.new_modules == ("classifier.dense", "classifier.out_proj")
    model.save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path), 2)[0].new_modules == ()


def test_a_pickled_checkpoint_is_refused(tmp_path):
    folder = saved(tiny_bert(), tmp_path)
    weights = folder / "model.safetensors"
    torch.save(tiny_bert().state_dict(), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        load_classifier(str(folder))


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path, tiny):
    folder = saved(tiny.gpt2(), tmp_path)
    AutoTokenizer.from_pretrained(folder, pad_token=None, eos_token="[SEP]").save_pretrained(folder)
    model, tokenizer = load_causal_lm(str(folder))
    assert tokenizer.pad_token == "[SEP]"
    assert model.config.pad_token_id == 3


@pytest.mark.parametrize("load", [load_classifier, load_causal_lm])
def test_an_unknown_name_lists_what_is_built_in(load, nowhere):
    with pytest.raises(OSError, match=r"'minlm' is not built in \((minilm, minilm-sre|smollm2)\), and transformers"):
        load("minlm")


@pytest.mark.parametrize("name", ["minilm", "minilm-sre"])
def test_without_cache_package_or_hub_the_way_out_is_said(name, nowhere):
    with pytest.raises(assets.Unavailable, match=f"{name} .* is not in the cache .*make fetch"):
        load_classifier(name)


def test_a_hub_stands_in_for_a_package_that_cannot_be_had(nowhere, tmp_path, monkeypatch):
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setitem(models.HUB, "minilm", str(saved(tiny_bert(), folder)))
    assert load_classifier("minilm")[0].classifier.weight.shape == (2, 16)


# ── The decoder's conversion ────────────────────────────────────────────────────────────────────────────


def test_halves_undoes_the_row_order_of_llama_cpp():
    weight = np.arange(2 * 8 * 3).reshape(16, 3)  # two heads of eight rows
    packed = weight.reshape(2, 2, 4, 3).swapaxes(1, 2).reshape(16, 3)  # row i beside row i + d/2
    assert (packed[:2, 0] == [0, 12]).all()
    assert (smollm2.halves(packed, 2) == weight).all()


def packed_llama(folder):
    """A Llama of two layers in GGUF, its matrices in Q4_1, its rows in llama.cpp's order, and a tokenizer."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "initializer_range": 0.3}
    sizes = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 260, "tie_word_embeddings": True}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads))
    writer = gguf.GGUFWriter(folder / smollm2.FILE, "llama")
    letters = [*"abcd", *(chr(256 + i) for i in range(251))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<unk>", "<s>", "</s>", *letters, "ab", "cd"])
    writer.add_token_types([3, 3, 3, *[1] * 257])
    writer.add_token_merges(["a b", "c d"])
    for name, value in {"bos": 1, "eos": 2, "unk": 0, "pad": 2}.items():
        getattr(writer, f"add_{name}_token_id")(value)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for name, value in {"vocab_size": 260, "block_count": 2, "context_length": 16, "embedding_length": 64}.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(5e4)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            _add(writer, name, weight.numpy())
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    return folder / smollm2.FILE


def _add(writer, name, weight):
    ours = {theirs: kind for kind, theirs in smollm2.NAMES.items()}
    layer = f"blk.{name.split('.')[2]}." if "layers" in name else ""
    kind = next(kind for theirs, kind in ours.items() if name.endswith(f".{theirs}.weight"))
    heads = {"attn_q": 4, "attn_k": 2}.get(kind)
    if heads:
        weight = weight.reshape(heads, 2, -1, 64).swapaxes(1, 2).reshape(weight.shape)
    if weight.ndim == 1:
        return writer.add_tensor(f"{layer}{kind}.weight", weight)
    q4 = gguf.GGMLQuantizationType.Q4_1
    return writer.add_tensor(f"{layer}{kind}.weight", gguf.quants.quantize(weight, q4), raw_dtype=q4)


def test_the_conversion_is_transformers_own_bit_for_bit(tmp_path, tiny):
    packed = packed_llama(tmp_path)
    smollm2.convert(packed, tmp_path / "float32")
    ours, tokenizer = load_causal_lm(str(tmp_path / "float32"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=packed.name, dtype=torch.float32)
    ids = tiny.tokens(2, 12)
    assert torch.equal(ours(ids).logits, theirs(ids).logits)
    assert ours.new_modules == ()
    assert ours.generation_config.eos_token_id == 2
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"
    assert AutoTokenizer.from_pretrained(tmp_path, gguf_file=packed.name).get_vocab() == tokenizer.get_vocab()
    ours.save_pretrained(tmp_path / "again")  # what the model read from GGUF refuses


# ── The paper's architectures ───────────────────────────────────────────────────────────────────────────

MILLIONS = {  # as the tables print them, and what the configuration has beside it
    "roberta-base": (125.0, 124.6),  # the figure of its authors, rounded; ours has the classifier for two labels
    "roberta-large": (355.0, 355.4),
    "deberta-v2-xxlarge": (1500.0, 1566.9),  # "1.5B": without the 196.8M of its vocabulary it would be 1.37B
    "gpt2-medium": (354.92, 354.82),  # the table has 98,304 more; OpenAI's checkpoint has ours
    "gpt2-large": (774.03, 774.03),
    "gpt3-175b": (175255.8, 174604.3),  # an output layer of its own is 617.6M of what is missing
}


@pytest.mark.parametrize("name", MILLIONS)
def test_architectures_have_the_paper_s_sizes(name):
    model = architecture(name)
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    printed, ours = MILLIONS[name]
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert millions == pytest.approx(ours, abs=0.05)
    assert millions == pytest.approx(printed, rel=0.05)


def test_an_architecture_with_weights_is_drawn_from_its_seed(monkeypatch):
    monkeypatch.setitem(architectures.ARCHITECTURES, "small", lambda: architectures._gpt2(16, 2, 2))
    before = torch.get_rng_state()
    first, same, other = (architecture("small", device="cpu", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.transformer.h[0].mlp.c_fc.weight, same.transformer.h[0].mlp.c_fc.weight)
    assert not torch.equal(first.transformer.h[0].mlp.c_fc.weight, other.transformer.h[0].mlp.c_fc.weight)


def test_an_unknown_architecture_lists_what_there_is():
    with pytest.raises(ValueError, match=r"'gpt4'; there are roberta-base, .*gpt3-175b"):
        architecture("gpt4")


# ── The real ones ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.model
def test_minilm():
    model, tokenizer = load_classifier()
    assert (
        sum(weight.numel() for weight in model.parameters()) == 22_713_216 - 385 * 384 + 2 * 385
    )  # the pooler goes, the classifier comes
    with torch.no_grad():
        near, same, far = (
            models.mean_pool(model.bert(**tokens).last_hidden_state, tokens["attention_mask"])
            for text in ("a wonderful film", "a great movie", "the bank lends money")
            for tokens in [tokenizer(text, return_tensors="pt")]
        )
    assert F.cosine_similarity(near, same) > F.cosine_similarity(near, far) + 0.3


@pytest.mark.model
def test_smollm2():
    if not (assets.cache() / f"smollm2-{assets.named('smollm2').sha256[:12]}-float32").is_dir():
        pytest.skip("smollm2 is not in the cache: `make fetch ARGS=smollm2` and load it once")
    model, tokenizer = load_causal_lm()
    prompt = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**tokens, max_new_tokens=8, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, tokens["input_ids"].shape[1] :])


@pytest.mark.model
def test_sentence_vectors_are_the_read_out_of_length_one():
    model, tokenizer = models.load_classifier("minilm")
    texts = ["Not a moment too long.", "Two hours I want back."]
    found = models.sentence_vectors(model.train(), tokenizer, texts)
    words = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = model.eval().bert(words["input_ids"], words["attention_mask"]).last_hidden_state
    expected = torch.nn.functional.normalize(models.mean_pool(hidden, words["attention_mask"]), dim=1)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
