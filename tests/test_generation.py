"""Greedy text against the definition of it, and the explorer that turns it with α."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lorakit import LoRA, adapt, adapters, merge, plots
from lorakit.generation import by_row, greedy
from lorakit.layers import disabled
from lorakit.methods import DoRA, FusedLoRA, Houlsby
from lorakit.plots import alt_text
from lorakit.plots.writing import distinct, shared
from lorakit.widgets import TextExplorer
from lorakit.widgets.alpha import scaled

PROMPTS = ["w3 w7 w9", "w5", "w11 w2 w2 w8 w19"]


@pytest.fixture
def tokenizer():
    words = {f"w{n}": n for n in range(1, 30)} | {"[PAD]": 0}
    inner = Tokenizer(models.WordLevel(words, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", clean_up_tokenization_spaces=False)


@pytest.fixture
def model(tiny):
    model = tiny.llama(eos_token_id=None, bos_token_id=None)
    adapt(model, FusedLoRA, ["*.q_proj", "*.v_proj"], rank=3, alpha=6.0)
    tiny.stir(model)
    return model.train()


def by_hand(model, tokenizer, prompt, tokens):
    """Ids and probabilities, one forward of the whole text for each token."""
    ids, sure = tokenizer(prompt)["input_ids"], []
    model.eval()
    for _ in range(tokens):
        with torch.no_grad():
            share = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        ids, sure = [*ids, int(share.argmax())], [*sure, float(share.max())]
    model.train()
    return ids[-tokens:], sure


def words(tokenizer, ids):
    return tuple(tokenizer.decode([token]) for token in ids)


def test_greedy_is_the_most_probable_token_again_and_again(model, tokenizer):
    found = greedy(model, tokenizer, PROMPTS, tokens=6)
    for prompt, one in zip(PROMPTS, found, strict=True):
        ids, sure = by_hand(model, tokenizer, prompt, 6)
        assert one.tokens == words(tokenizer, ids)
        assert one.text == tokenizer.decode(ids)
        np.testing.assert_allclose(one.probability, sure, rtol=1e-4)
        assert (one.prompt, one.ended) == (prompt, False)
        assert repr(one) == f"{prompt}{one.text} …"
    assert model.training


@pytest.mark.parametrize("listed", [False, True])
def test_a_text_ends_where_its_model_ends_it(model, tokenizer, listed):
    ids, _ = by_hand(model, tokenizer, PROMPTS[0], 6)
    last = next(n for n in range(1, 6) if ids[n] not in ids[:n])
    model.generation_config.eos_token_id = [ids[last], 29] if listed else ids[last]
    (one,) = greedy(model, tokenizer, PROMPTS[0], tokens=6)
    assert one.ended
    assert one.tokens == words(tokenizer, ids[:last])
    assert len(one.probability) == last
    assert repr(one) == PROMPTS[0] + one.text


@pytest.mark.parametrize(("prompts", "tokens"), [([], 3), ("", 3), (["w1", ""], 3), ("w1", 0)])
def test_greedy_refuses(model, tokenizer, prompts, tokens):
    with pytest.raises(ValueError, match=r"at least one prompt, none of them empty, and one token; given .* and \d"):
        greedy(model, tokenizer, prompts, tokens=tokens)


# ---- an α of its own for every row ----------------------------------------------------------------------


@pytest.mark.parametrize("method", [LoRA, FusedLoRA])
def test_each_row_computes_at_its_own_strength(tiny, method):
    model, ids, factors = tiny.llama(), tiny.tokens(rows=4), [0.0, 0.5, 1.0, 2.0]
    adapt(model, method, ["*.q_proj", "*.v_proj"], rank=3)
    tiny.stir(model)
    with torch.no_grad():
        with by_row(model, factors):
            together = model(ids).logits
        for row, factor in enumerate(factors):
            with scaled(model, factor):
                torch.testing.assert_close(together[row], model(ids).logits[row], rtol=1e-4, atol=1e-4)
        with disabled(model):
            assert torch.equal(together[0], model(ids).logits[0])
        assert torch.equal(together[2], model(ids).logits[2])


def test_rows_scale_any_change_of_weights(tiny):
    model, ids = tiny.gpt2(), tiny.tokens(rows=1)
    adapt(model, DoRA, "*.c_attn", rank=3)
    tiny.stir(model)
    expected = model(ids).logits
    with by_row(model, [1.0]):
        assert torch.equal(model(ids).logits, expected)


def test_rows_are_one_factor_each_and_leave_no_hook(model, tiny):
    ids = tiny.tokens(rows=3)
    expected = model(ids).logits
    with pytest.raises(ValueError, match="one factor a row; given 2 for a batch of 3"), by_row(model, [1.0, 0.0]):
        model(ids)
    assert torch.equal(model(ids).logits, expected)
    assert not any(adapter._forward_hooks for adapter in adapters(model).values())


def test_rows_need_a_change_of_weights(tiny):
    model = tiny.llama()
    adapt(model, Houlsby, "*.down_proj", size=3)
    with pytest.raises(ValueError, match="no change of weights to scale"), by_row(model, [1.0]):
        pass


# ---- the explorer ---------------------------------------------------------------------------------------


@pytest.fixture
def explorer(model, tokenizer):
    def loss(model):
        return next(iter(adapters(model).values())).alpha + 1.0

    options = {"factors": (0.5, 1.0, 3.0), "tokens": 5, "evaluate": loss, "about": "tiny"}
    return TextExplorer(model, tokenizer, prompt=PROMPTS[0], **options)


def test_the_slider_shows_the_text_of_its_alpha(explorer, model, tokenizer):
    assert [value for _, value in explorer.alpha.options] == [0.0, 0.5, 1.0, 3.0]
    assert [label for label, _ in explorer.alpha.options] == ["0", "3", "6", "18"]
    assert explorer.alpha.value == 1.0
    for _, factor in explorer.alpha.options:
        explorer.alpha.value = factor
        with scaled(model, factor):
            (expected,) = greedy(model, tokenizer, PROMPTS[0], tokens=5)
        assert explorer.text.tokens == expected.tokens
        assert f"<b>{expected.text}</b>" in explorer.said.value
        view = explorer.views[0]
        assert list(view.figure.data[0].y) == distinct(expected.tokens)
        np.testing.assert_allclose(view.figure.data[0].x, expected.probability, rtol=1e-3)
        assert f"α = {6 * factor:g}" in view.figure.layout.title.subtitle.text
    assert model.training


def test_texts_differ_and_the_frozen_models_is_grey(explorer):
    texts = {factor: text.tokens for factor, text in zip(explorer.factors, explorer.texts, strict=True)}
    assert len(set(texts.values())) > 1
    explorer.alpha.value = 0.0
    assert set(explorer.views[0].figure.data[0].marker.color) == {plots.style.GREY}
    explorer.alpha.value = 3.0
    same = shared(texts[3.0], texts[0.0])
    colours = list(explorer.views[0].figure.data[0].marker.color)
    assert [colour == plots.style.GREY for colour in colours] == [n < same for n in range(5)]


def test_the_loss_is_measured_at_each_alpha(explorer, model):
    np.testing.assert_allclose(explorer.loss, [1.0, 4.0, 7.0, 19.0])
    explorer.alpha.value = 0.5
    line, now = explorer.views[1].figure.data
    assert list(line.x) == [0, 3, 6, 18]
    assert (list(now.x), list(now.y)) == ([3.0], [4.0])
    assert explorer.views[1].figure.layout.shapes[0].x0 == 6.0
    assert "least at α = 0: 1.00; marked, 4.00 at α = 3" in explorer.views[1].alt
    assert {adapter.alpha for adapter in adapters(model).values()} == {6.0}


def test_write_goes_on_from_another_prompt(explorer, model, tokenizer):
    explorer.prompt.value = PROMPTS[2]
    assert explorer.text.prompt == PROMPTS[0]
    explorer.button.click()
    (expected,) = greedy(model, tokenizer, PROMPTS[2], tokens=5)
    assert explorer.text.tokens == expected.tokens
    assert PROMPTS[2] in explorer.said.value
    assert (explorer.button.disabled, explorer.button.description) == (False, "Write")


def test_what_cannot_be_written_is_said(explorer, model):
    before = explorer.texts
    explorer.prompt.value = ""
    explorer.button.click()
    assert "at least one prompt" in explorer.said.value
    explorer.prompt.value = PROMPTS[1]
    merge(model)
    explorer.button.click()
    assert "no change of weights" in explorer.said.value
    assert (explorer.texts, explorer.button.disabled) == (before, False)


def test_without_a_loss_there_is_one_picture(model, tokenizer):
    explorer = TextExplorer(model, tokenizer, prompt="w4", factors=(1.0,), tokens=3)
    assert len(explorer.views) == 1
    assert "It writes" in explorer._repr_mimebundle_()[0]["text/plain"]


def test_an_explorer_needs_an_alpha(tiny, tokenizer):
    with pytest.raises(ValueError, match="no adapter of this model has an alpha to slide"):
        TextExplorer(tiny.llama(), tokenizer, prompt="w4")


# ---- the plots ------------------------------------------------------------------------------------------


def test_tokens_stand_one_below_the_other():
    tokens = ("Return", " the", " the", "\n", " the")
    figure = plots.continuation(tokens, [0.9, 0.5, 0.1, 0.7, 0.3], base=("Return", " a"), rows=9)
    labels = list(figure.data[0].y)
    assert len(set(labels)) == 5
    assert [label.replace("\u200b", "") for label in labels] == ["Return", "·the", "·the", "⏎", "·the"]
    assert [colour == plots.style.GREY for colour in figure.data[0].marker.color] == [True, False, False, False, False]
    assert tuple(figure.layout.yaxis.range) == (8.5, -0.5)
    assert "Least sure of 'the', 10%" in alt_text(figure)
    with pytest.raises(ValueError, match="one probability a token; given 5 tokens and 2 probabilities"):
        plots.continuation(tokens, [0.1, 0.2])
    assert alt_text(plots.continuation((), ())) == "It writes nothing"


@pytest.mark.parametrize(
    ("one", "other", "same"), [("abc", "abd", 2), ("ab", "abc", 2), ("abc", "ab", 2), ("", "a", 0), ("x", "y", 0)]
)
def test_texts_share_a_beginning(one, other, same):
    assert shared(tuple(one), tuple(other)) == same
