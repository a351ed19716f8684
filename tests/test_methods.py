"""What each method computes, against an oracle of its own: LoRA, PEFT, dense algebra, attention written out.

That every method keeps the laws of an adapter is `test_contract`'s business.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import bert, gpt2, llama, stir, tokens
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache, StaticCache
from transformers.pytorch_utils import Conv1D

from lorakit import LoRA, adapt, adapters, merge, train
from lorakit.layers import trainable_parameters, trainable_state
from lorakit.methods import BitFit, DoRA, FusedLoRA, Houlsby, Lin, Prefix
from lorakit.methods.fused import _Dense

DENSE = {
    "linear": lambda: nn.Linear(9, 12),
    "no bias": lambda: nn.Linear(12, 9, bias=False),
    "conv1d": lambda: Conv1D(12, 9),
    "square conv1d": lambda: Conv1D(9, 9),
}


def trained(method, base, dtype=torch.float64, **options):
    """An adapter as training would leave it; the same numbers for the same options."""
    adapter = method(base.to(dtype), generator=torch.Generator().manual_seed(0), **options)
    stir(adapter)
    return adapter


def pair(make=DENSE["linear"], dtype=torch.float64, **options):
    """LoRA and FusedLoRA with the same weights."""
    torch.manual_seed(0)
    base = make()
    return [trained(method, copy.deepcopy(base), dtype, **options) for method in (LoRA, FusedLoRA)]


def outcome(adapter, x, g=None):
    """What it gives out, and the gradients of its own parameters and of its input."""
    x = x.detach().clone().requires_grad_()
    y = adapter(x)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y) if g is None else g)
    return [y.detach(), x.grad, *(p.grad for p in adapter.own_parameters())]


def agree(first, second, tolerance=1e-12):
    return all(torch.allclose(a, b, tolerance, tolerance) for a, b in zip(first, second, strict=True))


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(5))


# Fused LoRA


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"parts": (True, False, True)}], ids=["", "rslora", "parts"])
def test_fused_is_lora(kind, options):
    plain, fused = pair(DENSE[kind], rank=2, alpha=3.0, **options)
    into = plain.A.shape[1]
    apart = draw(2, into, 3).mT if kind in ("linear", "no bias") else draw(2, 3, into)  # Conv1D itself takes no other
    for x in (draw(into), draw(5, into), draw(2, 3, into), draw(0, 3, into), apart):
        assert agree(outcome(fused, x), outcome(plain, x))


def test_fused_takes_its_own_path(monkeypatch):
    calls = []
    monkeypatch.setattr(_Dense, "apply", lambda *args, apply=_Dense.apply: calls.append(1) or apply(*args))
    for kind in DENSE.values():
        fused = pair(kind)[1]
        fused(draw(4, fused.A.shape[1]))
    assert len(calls) == len(DENSE)


def test_fused_has_first_and_second_derivatives():
    fused = pair(rank=2)[1]
    values = [p.detach().requires_grad_() for p in (draw(4, 9), fused.A, fused.B)]

    def call(x, A, B):
        return _Dense.apply(x, fused.base.weight, fused.base.bias, A, B, 0.7)

    assert gradcheck(call, values)
    assert gradgradcheck(call, values)


def test_fused_takes_any_gradient():
    plain, fused = pair()
    x, one = draw(2, 3, 9), torch.ones((), dtype=torch.float64)
    for g in (one.expand(2, 3, 12), draw(12, 3, 2).permute(2, 1, 0)):
        assert agree(outcome(fused, x, g), outcome(plain, x, g))


@pytest.mark.parametrize("frozen", ["A", "B", "x", "A and B"])
def test_fused_computes_only_what_is_asked(frozen):
    fused = pair()[1]
    x = draw(4, 9).requires_grad_("x" not in frozen)
    fused.A.requires_grad_("A" not in frozen)
    fused.B.requires_grad_("B" not in frozen)
    fused(x).sum().backward()
    assert {n for n, t in {"A": fused.A, "B": fused.B, "x": x}.items() if t.grad is None} == set(frozen.split(" and "))


class Written(TorchDispatchMode):
    """Collects every tensor that is computed, once for all in-place operations on it."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        known = given | {t.untyped_storage().data_ptr() for t in self.kept}
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in known:
            self.kept.append(out)
        return out

    def count(self, size):
        return sum(tensor.numel() == size for tensor in self.kept)


@pytest.mark.parametrize("wants_x", [True, False])
def test_fused_writes_nothing_twice(wants_x):
    """One array as large as y, one as large as x if it wants a gradient, none as large as W."""
    fused = pair(lambda: nn.Linear(11, 13), rank=2)[1]
    x = draw(17, 11).requires_grad_(wants_x)
    g = draw(17, 13)
    with Written() as written:
        fused(x).backward(g)
    assert [written.count(n) for n in (17 * 13, 17 * 11, 13 * 11)] == [1, int(wants_x), 0]


def test_fused_output_may_be_changed_in_place():
    plain, fused = pair()
    x = draw(2, 3, 9)
    assert torch.equal(fused(x).relu_(), fused(x).relu())
    fused(x).relu_().sum().backward()
    plain(x).relu().sum().backward()
    assert torch.allclose(fused.B.grad, plain.B.grad)


def test_fused_drops_what_lora_drops():
    results = []
    for adapter in pair(dropout=0.5):
        torch.manual_seed(3)
        results.append(outcome(adapter.train(), draw(6, 9)))
    assert agree(*results)


def test_fused_under_autocast_and_with_mixed_dtypes_is_lora():
    plain, fused = pair(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert agree(outcome(fused, draw(4, 9, dtype=torch.float32)), outcome(plain, draw(4, 9, dtype=torch.float32)))
    plain, fused = pair(lambda: nn.Linear(9, 12).to(torch.bfloat16), dtype=torch.bfloat16)
    plain.float().base.bfloat16(), fused.float().base.bfloat16()  # A and B learn in float32
    x = draw(4, 9, dtype=torch.bfloat16)
    assert agree(outcome(fused, x), outcome(plain, x))


def test_fused_in_half_precision_is_no_further_from_the_truth_than_lora():
    exact, x = outcome(pair()[0], draw(64, 9)), draw(64, 9)
    plain, fused = (outcome(adapter, x.bfloat16()) for adapter in pair(dtype=torch.bfloat16))
    for truth, a, b in zip(exact, plain, fused, strict=True):
        assert (b - truth).norm() <= 1.2 * (a - truth).norm()


def test_fused_lets_hooks_and_a_trained_base_be():
    plain, fused = pair()
    seen = []
    fused.base.register_forward_hook(lambda module, args, out: seen.append(out))
    fused(draw(4, 9))
    assert seen, "a hook on the base was skipped"
    plain, fused = pair()
    for adapter in (plain, fused):
        adapter.base.bias.requires_grad_()
        adapter(draw(4, 9)).sum().backward()
    assert torch.equal(fused.base.bias.grad, plain.base.bias.grad)


def test_fused_under_functional_transforms_is_lora():
    plain, fused = pair()
    x = draw(5, 9)

    def each(adapter):
        parameters = {name: p.detach() for name, p in adapter.named_parameters()}
        loss = lambda p, row: torch.func.functional_call(adapter, p, (row,)).square().sum()  # noqa: E731
        by_row = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
        return [by_row["A"], by_row["B"], *torch.func.jvp(adapter, (x,), (x,))]

    assert agree(each(fused), each(plain))


def test_fused_survives_checkpointing():
    from torch.utils.checkpoint import checkpoint

    plain, fused = pair()
    recomputed = lambda x: checkpoint(fused, x, use_reentrant=False)  # noqa: E731
    recomputed.own_parameters = fused.own_parameters
    assert agree(outcome(recomputed, draw(4, 9)), outcome(plain, draw(4, 9)))


# DoRA


def dora_by_hand(adapter, weight):
    """W, (out, in), from the equation in the paper."""
    direction = weight + adapter.scale * adapter.B @ adapter.A
    return adapter.magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True).detach()


@pytest.mark.parametrize("kind", ["linear", "no bias"])
def test_dora_is_pefts(kind):
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    base = DENSE[kind]().double()
    ours = trained(DoRA, copy.deepcopy(base), rank=2, alpha=3.0)
    options = LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=["0"])
    theirs = inject_adapter_in_model(options, nn.Sequential(base)).double()
    twins = [theirs[0].lora_A["default"], theirs[0].lora_B["default"], theirs[0].lora_magnitude_vector["default"]]
    with torch.no_grad():
        for twin, own in zip(twins, (ours.A, ours.B, ours.magnitude), strict=True):
            twin.weight.copy_(own)
    theirs.own_parameters = lambda: [twin.weight for twin in twins]
    x = draw(2, 3, ours.A.shape[1])
    assert agree(outcome(ours, x), outcome(theirs, x))


@pytest.mark.parametrize("kind", DENSE)
def test_dora_is_its_equation(kind):
    torch.manual_seed(0)
    adapter = trained(DoRA, DENSE[kind](), rank=2)
    weight = adapter.base.weight.T if "conv1d" in kind else adapter.base.weight
    x, W = draw(5, weight.shape[1]), dora_by_hand(adapter, weight)
    values = (adapter.A, adapter.B, adapter.magnitude)
    assert torch.allclose(adapter(x), F.linear(x, W, adapter.base.bias))
    assert torch.allclose(adapter.delta(), W - weight)
    found = torch.autograd.grad(adapter(x).pow(2).sum(), values)
    expected = torch.autograd.grad(F.linear(x, W, adapter.base.bias).pow(2).sum(), values)
    assert agree(found, expected, 1e-9)


def test_dora_bears_a_row_of_zeros():
    for dtype in (torch.float64, torch.float16):
        base = nn.Linear(9, 12).to(dtype)
        base.weight.data[3] = 0
        adapter = DoRA(base)
        assert torch.equal(adapter(draw(4, 9).to(dtype)), base(draw(4, 9).to(dtype)))
        assert adapter.delta().isfinite().all()


def test_dora_refuses_embeddings():
    with pytest.raises(ValueError, match="no module for DoRA matches"):
        adapt(bert(), DoRA, "*.word_embeddings")


# Bottlenecks


def count(model):
    return sum(parameter.numel() for name, parameter in trainable_parameters(model) if "classifier" not in name)


@pytest.mark.parametrize("method", [Houlsby, Lin])
@pytest.mark.parametrize("kind", DENSE)
def test_a_bottleneck_is_its_equation(method, kind):
    torch.manual_seed(0)
    adapter = trained(method, DENSE[kind](), size=3, activation=torch.tanh)
    x = draw(5, adapter.base.weight.shape["conv1d" not in kind])
    h = adapter.base(x)
    norm = (lambda h: F.layer_norm(h, h.shape[-1:], adapter.norm.weight, adapter.norm.bias)) if method is Lin else None
    inner = torch.tanh((norm(h) if norm else h) @ adapter.down.weight.T + adapter.down.bias)
    assert torch.allclose(adapter(x), h + inner @ adapter.up.weight.T + adapter.up.bias)


def test_houlsby_counts_as_the_paper_does():
    model, d, r, layers = bert(), 16, 3, 2
    assert len(adapt(model, Houlsby, "*.output.dense", size=r)) == 2 * layers
    assert count(model) == 2 * layers * (2 * d * r + r + d)


def test_lin_counts_as_the_paper_does():
    model, d, r, layers = gpt2(), 16, 3, 2
    assert len(adapt(model, Lin, "*.mlp.c_proj", size=r)) == layers
    assert count(model) == layers * (2 * d * r + r + d) + 2 * layers * d


@pytest.mark.parametrize("size", [0, 13, 2.0])
def test_a_bottleneck_is_no_wider_than_its_layer(size):
    with pytest.raises(ValueError, match=rf"1\.\.12 wide .* given size={size}"):
        Houlsby(nn.Linear(9, 12), size=size)


# BitFit


@pytest.mark.parametrize("base", [nn.Linear(4, 3), Conv1D(3, 4), nn.LayerNorm(4), nn.Conv2d(2, 3, 2)], ids=repr)
def test_bitfit_shifts_the_bias(base):
    x = draw(2, 4, 4).float()
    adapter, moved = trained(BitFit, base, torch.float32), copy.deepcopy(base)
    moved.bias.data += adapter.shift.data
    assert torch.allclose(adapter(x), moved(x), atol=1e-6)
    assert torch.equal(adapter.merged()["bias"], moved.bias)


def test_bitfit_trains_every_bias_and_nothing_else():
    model = bert()
    biases = [p for n, p in model.base_model.named_parameters() if n.endswith("bias")]
    adapt(model, BitFit, ["bert.*"])
    assert count(model) == sum(p.numel() for p in biases)


def test_bitfit_needs_a_bias():
    with pytest.raises(ValueError, match="no module for BitFit matches"):
        adapt(llama(), BitFit, "*.q_proj")


# Prefixes


class ByHand(nn.Module):
    """Attention over [prefix; sequence], written out: real (B, T) says which tokens are not padding."""

    def __init__(self, prefix, real, causal):
        super().__init__()
        self.prefix, self.real, self.causal = prefix, real, causal

    def forward(self, hidden_states, position_embeddings=None, **_):
        q, k, v, finish = self.projected(hidden_states)
        if position_embeddings is not None:
            q, k = (self.rotated(t, *position_embeddings) for t in (q, k))
        prefix = [p.expand(len(q), -1, -1, -1) for p in (self.prefix.keys, self.prefix.values)]
        held = [torch.cat(both, 2) for both in zip(prefix, (k, v), strict=True)]
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in held)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        out = scores.masked_fill(~self.visible(), -math.inf).softmax(-1) @ v
        return finish(out.transpose(1, 2).flatten(2)), None

    def projected(self, x):
        base = self.prefix.base
        split = lambda t: t.unflatten(-1, (-1, self.prefix.keys.shape[-1])).transpose(1, 2)  # noqa: E731
        if hasattr(base, "c_attn"):
            return *map(split, base.c_attn(x).chunk(3, -1)), base.c_proj
        if hasattr(base, "o_proj"):
            return split(base.q_proj(x)), split(base.k_proj(x)), split(base.v_proj(x)), base.o_proj
        return split(base.query(x)), split(base.key(x)), split(base.value(x)), nn.Identity()

    def rotated(self, t, cos, sin):
        left, right = t.chunk(2, -1)
        return t * cos[:, None] + torch.cat([-right, left], -1) * sin[:, None]

    def visible(self):
        rows, steps = self.real.shape
        seen = self.real[:, None, :].expand(rows, steps, steps)
        seen = seen.tril() if self.causal else seen
        return F.pad(seen, (self.prefix.keys.shape[1], 0), value=True)[:, None]


ATTENTION = {bert: "*.attention.self", gpt2: "*.attn", llama: "*.self_attn"}
every_model = pytest.mark.parametrize("make", ATTENTION, ids=lambda make: make.__name__)
every_kernel = pytest.mark.parametrize("kernel", ["eager", "sdpa"])


def prefixed(make, length=3, **options):
    model = make(**options).double()
    adapt(model, Prefix, ATTENTION[make], length=length)
    stir(model)
    return model.requires_grad_(True)


def padding(side):
    real = torch.ones(4, 6, dtype=torch.bool)
    if side != "none":
        real[1, slice(4, None) if side == "right" else slice(0, 2)] = False
        real[2, slice(2, None) if side == "right" else slice(0, 4)] = False
    return real


@every_model
@every_kernel
@pytest.mark.parametrize("side", ["none", "right", "left"])
def test_a_prefix_is_attention_over_a_longer_sequence(make, kernel, side):
    model, real = prefixed(make, attn_implementation=kernel), padding(side)
    given = {} if side == "none" else {"attention_mask": real.long()}
    oracle = copy.deepcopy(model)
    for layer in [module for module in oracle.modules() if any(isinstance(c, Prefix) for c in module.children())]:
        for name, child in layer.named_children():
            if isinstance(child, Prefix):
                setattr(layer, name, ByHand(child, real, causal=make is not bert))
    results = []
    for each in (model.train(), oracle.train()):
        for dropout in [module for module in each.modules() if isinstance(module, nn.Dropout)]:
            dropout.p = 0.0
        hidden = each.base_model(tokens(), **given).last_hidden_state[real]
        (hidden * draw(*hidden.shape)).sum().backward()
        results.append([hidden, *(p.grad for n, p in each.named_parameters() if n.endswith(("keys", "values")))])
    assert len(results[0]) == 5
    exact = make is not llama or kernel == "sdpa"  # Llama's own softmax is in float32
    assert agree(*results, 1e-9 if exact else 1e-5)


@pytest.mark.parametrize("make", [gpt2, llama], ids=lambda make: make.__name__)
@every_kernel
@pytest.mark.parametrize("cache", [DynamicCache, StaticCache], ids=lambda cache: cache.__name__)
def test_a_prefix_sees_a_real_cache(make, kernel, cache):
    model, ids = prefixed(make, attn_implementation=kernel), tokens(2, 6)
    whole = model(ids).logits
    held = cache(config=model.config, **({"max_cache_len": 12} if cache is StaticCache else {}))
    pieces = [model(piece, past_key_values=held, use_cache=True).logits for piece in ids.split([3, 1, 2], 1)]
    assert torch.allclose(torch.cat(pieces, 1), whole)
    assert held.get_seq_length() == 6, "the prefix went into the cache"


@pytest.mark.parametrize("make", [gpt2, llama], ids=lambda make: make.__name__)
@every_kernel
def test_generation_from_a_padded_batch_is_that_of_each_row(make, kernel):
    model = prefixed(make, attn_implementation=kernel).eval()
    real, ids = padding("left"), tokens()
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "use_cache": True}
    together = model.generate(ids, attention_mask=real.long(), **settings)[:, 6:]
    for row in range(4):
        alone = ids[row, real[row]][None]
        for _ in range(4):  # no cache, no padding
            alone = torch.cat([alone, model(alone).logits[:, -1:].argmax(-1)], 1)
        assert torch.equal(alone[0, -4:], together[row])


@every_model
def test_a_prefix_counts_two_vectors_a_position(make):
    model, d, layers = make(), 16, 2
    adapt(model, Prefix, ATTENTION[make], length=5)
    width = d // 2 if make is llama else d  # two of its four heads have keys
    assert count(model) == layers * 2 * width * 5


@pytest.mark.parametrize("first", [LoRA, Prefix])
def test_a_prefix_and_lora_in_either_order(first):
    model = bert()
    calls = [(LoRA, ["*.query", "*.value"]), (Prefix, ["*.attention.self"])]
    for method, where in calls if first is LoRA else calls[::-1]:
        adapt(model, method, where)
    layers = [f"bert.encoder.layer.{i}.attention.self" for i in range(2)]
    assert sorted(adapters(model)) == sorted(n + part for n in layers for part in ("", ".query", ".value"))
    assert {n + ".keys" for n in layers} | {n + ".query.A" for n in layers} < set(trainable_state(model))
    before = trainable_state(model)
    batch = {"input_ids": tokens(), "labels": torch.tensor([0, 1, 1, 0])}
    train(model, [batch], steps=3, lr=0.1, progress=False)
    after = trainable_state(model)
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_both_orders_compute_the_same():
    models = []
    for calls in (((LoRA, "*.query"), (Prefix, "*.self")), ((Prefix, "*.self"), (LoRA, "*.query"))):
        models.append(bert())
        for method, where in calls:
            adapt(models[-1], method, where)
        state = {name: draw(*p.shape).float() / 3 for name, p in sorted(trainable_parameters(models[-1]))}
        for name, parameter in trainable_parameters(models[-1]):
            parameter.data = state[name]
    assert torch.equal(models[0](tokens()).logits, models[1](tokens()).logits)


def test_what_a_prefix_cannot_do_is_said():
    with pytest.raises(ValueError, match="at least one position; given length=0"):
        adapt(bert(), Prefix, "*.attention.self", length=0)
    with pytest.raises(ValueError, match="no module for Prefix matches"):
        adapt(bert(), Prefix, "*.attention")
    crossing = bert(is_decoder=True, add_cross_attention=True)
    with pytest.raises(ValueError, match="no module for Prefix matches"):
        adapt(crossing, Prefix, "*.crossattention.self")
    model = prefixed(bert)
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="eager or sdpa attention; this model uses 'flex_attention'"):
        next(iter(adapters(model).values()))(draw(1, 2, 16))


# And all of them in the loop


@pytest.mark.parametrize(
    ("method", "where", "options"),
    [
        pytest.param(FusedLoRA, ["*.query", "*.value"], {}, id="fused"),
        pytest.param(DoRA, ["*.query", "*.value"], {}, id="dora"),
        pytest.param(Houlsby, ["*.output.dense"], {"size": 4}, id="houlsby"),
        pytest.param(Lin, ["*.layer.?.output.dense"], {"size": 4}, id="lin"),
        pytest.param(BitFit, ["bert.encoder.*"], {}, id="bitfit"),
        pytest.param(Prefix, ["*.attention.self"], {}, id="prefix"),
        pytest.param(None, [], {}, id="full"),
    ],
)
def test_every_method_learns_in_the_same_loop(method, where, options):
    model = bert()
    model.requires_grad_(True) if method is None else adapt(model, method, where, keep=(), **options)
    model.classifier.requires_grad_(method is None)
    batch = {"input_ids": tokens(8), "labels": torch.arange(8) % 2}
    history = train(model, [batch], steps=30, lr=0.05, warmup=0.1, progress=False)
    assert history.loss.min() < 0.8 * history.loss[0]


@pytest.mark.parametrize("method", [FusedLoRA, DoRA, BitFit])
def test_changes_of_weights_merge(method):
    model = gpt2()
    adapt(model, method, "*.c_attn")
    stir(model)
    changed = model(tokens()).logits
    merge(model)
    assert torch.allclose(model(tokens()).logits, changed, atol=1e-4)
