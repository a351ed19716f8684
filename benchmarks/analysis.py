"""What it costs to look at ΔW by its factors: a GPT-3-sized adapter, and the sum of eight.

    python -m benchmarks.analysis

First: spectra, norms and φ tables on both sides of 192 matrices of 12288 × 12288, r = 8 against r = 64, synthetic
factors that are made, looked at and dropped one matrix at a time; and what dense SVDs of them would take, from those of
1024 and 2048. Then: Σ wᵢ·ΔWᵢ of eight adapters on GPT-2 medium's 24 blocks, recompressed to their rank, against PEFT's
`add_weighted_adapter` with combination_type="svd", which forms every dense matrix.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from lorakit.analysis import directions, similarity, spectrum
from lorakit.delta import LowRank, combine, dense, norm, svd

WIDTH, MATRICES, CORES = 12288, 192, 2
RANKS = (8, 64)


def synthetic(rank: int, width: int, seed: int) -> LowRank:
    """Gaussian factors of one layer, float32."""
    g = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(width, rank, generator=g), torch.randn(rank, width, generator=g))


def look(layer: int) -> tuple[float, float]:
    """Everything about one matrix of the two adapters; core-seconds to make its factors and to look at them."""
    start = time.thread_time()
    pair = [synthetic(rank, WIDTH, 1000 * rank + layer) for rank in RANKS]
    made = time.thread_time()
    small, large = (directions(delta) for delta in pair)
    for one in (small, large):
        assert spectrum(one).norm > 0
    for side in ("left", "right"):
        assert similarity(small, large, side=side).phi.shape == RANKS
    return made - start, time.thread_time() - made


def gpt3() -> None:
    """192 matrices; one thread of arithmetic a core, for thin factors do not fill more."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        making, looking = (sum(part) for part in zip(*pool.map(look, range(MATRICES))))
    wall, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{MATRICES} × {WIDTH}², r = {RANKS[0]} against r = {RANKS[1]}, {CORES} threads")
    print(f"  {wall:.1f} s and {peak:.2f} GB at most, the process included")
    print(f"  {making + looking:.1f} core-seconds: {making:.1f} made the factors, {looking:.1f} looked at them")
    against_dense(looking / MATRICES)


def against_dense(seconds: float) -> None:
    """The dense SVD where it can still be had, and by the cube of the width where it cannot."""
    for width in (1024, 2048):
        slow, fast = _dense(width), _factored(width)
        print(f"  {width}²: dense SVD {slow:.2f} s, rank {RANKS[1]} by factors {fast * 1e3:.1f} ms: {slow / fast:.0f}×")
    one = slow * (WIDTH / width) ** 3
    print(f"  {WIDTH}², by the cube: {one:.0f} s a dense SVD, {2 * MATRICES * one / 3600:.0f} h for all;")
    print(f"  {2 * one / seconds:,.0f}× what spectra, norms and φ of one pair took above")


def _dense(width: int) -> float:
    matrix = dense(synthetic(RANKS[1], width, 0))
    return _seconds(lambda: torch.linalg.svd(matrix, full_matrices=False))


def _factored(width: int) -> float:
    delta = synthetic(RANKS[1], width, 0)
    return min(_seconds(lambda: svd(delta)) for _ in range(5))


def _seconds(work: Callable[[], object]) -> float:
    """Core-seconds, which a busy machine stretches less than those of the clock."""
    start = time.process_time()
    work()
    return time.process_time() - start


def eight_adapters(count: int = 8, rank: int = 8) -> None:
    """The same sum by PEFT and by factors, from the same tensors; random weights, which cost what real ones cost."""
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2Model

    base = GPT2Model(GPT2Config(n_embd=1024, n_layer=24, n_head=16, bos_token_id=0, eos_token_id=0, vocab_size=8))
    config = LoraConfig(r=rank, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
    model, names = get_peft_model(base, config, "0"), [str(i) for i in range(count)]
    for name in names[1:]:
        model.add_adapter(name, config)
    weights = [1 / (1 + i) for i in range(count)]
    layers = [module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight")]
    factors = [[_factors(layer, name) for name in names] for layer in layers]
    slow = _seconds(lambda: model.add_weighted_adapter(names, weights, "sum", "svd", svd_rank=rank))
    summed: list[LowRank] = []
    fast = _seconds(lambda: summed.extend(combine(deltas, weights, rank=rank) for deltas in factors))
    theirs = [layer.get_delta_weight("sum").T.detach() for layer in layers]  # Conv1D: PEFT gives it as stored
    apart = max(float(norm(full - dense(ours)) / norm(ours)) for full, ours in zip(theirs, summed))
    print(f"{count} adapters on {len(layers)} c_attn of GPT-2 medium, summed and recompressed to rank {rank}")
    print(f"  PEFT {slow:.1f} core-seconds, by factors {fast:.3f}: {slow / fast:.0f}×; results apart by {apart:.1e}")


def _factors(layer, name: str) -> LowRank:
    """ΔW of one adapter in one of PEFT's layers."""
    pair = LowRank(layer.lora_B[name].weight.detach(), layer.lora_A[name].weight.detach())
    return pair * layer.scaling[name]


if __name__ == "__main__":
    torch.set_num_threads(1)
    gpt3()
    eight_adapters()
