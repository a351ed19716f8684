"""Assignment 3: what is right however it is written, and what typical wrong answers hear."""

import math
from statistics import mean, median

import numpy as np
import pytest
import torch
from answers import Answered, checks_of

from lorakit.analysis import similarity
from lorakit.checks import CheckFailed
from lorakit.checks import inside_delta_w as inside
from lorakit.delta import LowRank, dense, svd, truncate

CHECKS = checks_of(inside)


def factored(B, A):
    Q, R = torch.linalg.qr(B)
    P, T = torch.linalg.qr(A.T)
    u, S, vh = torch.linalg.svd(R @ T.T)
    return Q @ u, S, vh @ P.T


def factored_in_double(B, A):
    return tuple(svd(LowRank(B.double(), A.double())))


def factored_one_qr(B, A):
    Q, R = torch.linalg.qr(A.T)
    U, S, vh = torch.linalg.svd(B @ R.T, full_matrices=False)
    return [-U, S, -(vh @ Q.T)]


def core(B, A):
    (Q, R), (P, T) = torch.linalg.qr(B), torch.linalg.qr(A.T)
    return Q, R, P, T, *torch.linalg.svd(R @ T.T)


def core_transposed(B, A):
    Q, R, P, T, *_ = core(B, A)
    u, S, vh = torch.linalg.svd(T @ R.T)
    return Q @ u, S, vh @ P.T


def svd_of(f):
    return lambda B, A: torch.linalg.svd(f(B, A), full_matrices=False)


def thin(B, A):
    U, S, Vh = torch.linalg.svd(B @ A)
    r = len(A)
    return U[:, :r], S[:r], Vh[:r]


def eigen(B, A):
    U, S, Vh = factored(B, A)
    return U, S**2, Vh


def parts(U=lambda U, S: U, S=lambda S: S, Vh=lambda Vh: Vh):
    def wrong(B, A):
        u, s, vh = factored(B, A)
        return U(u, s), S(s), Vh(vh)

    return wrong


def flip_first(B, A):
    U, S, Vh = factored(B, A)
    return -U, S, Vh


def other_pair(B, A):
    U, S, _ = factored(B, A)
    return U, S, torch.linalg.qr(A.T).Q.T


def singular_values_of_a_factor(B, A):
    U, _, Vh = factored(B, A)
    return U, torch.linalg.svdvals(A), Vh


def product_of_singular_values(B, A):
    U, _, Vh = factored(B, A)
    return U, torch.linalg.svdvals(B) * torch.linalg.svdvals(A), Vh


def counts(U, V):
    i, j = np.arange(1, U.shape[1] + 1), np.arange(1, V.shape[1] + 1)
    return i[:, None], j[None, :]


def overlaps(U, V):
    return (U.double().T @ V.double()).numpy()


def phi(U, V):
    i, j = counts(U, V)
    return (overlaps(U, V) ** 2).cumsum(0).cumsum(1) / np.minimum(i, j)


def phi_in_loops(U, V):
    table = torch.zeros(U.shape[1], V.shape[1], dtype=U.dtype)
    for i in range(1, U.shape[1] + 1):
        for j in range(1, V.shape[1] + 1):
            table[i - 1, j - 1] = torch.linalg.matrix_norm(U[:, :i].T @ V[:, :j]) ** 2 / min(i, j)
    return table


def phi_torch(U, V):
    squares = torch.einsum("di,dj->ij", U, V).square()
    i = torch.arange(1, U.shape[1] + 1).unsqueeze(1)
    j = torch.arange(1, V.shape[1] + 1)
    return torch.cumsum(torch.cumsum(squares, 1), 0) / torch.minimum(i, j)


def phi_with(total=lambda o: (o**2).cumsum(0).cumsum(1), divide=np.minimum):
    return lambda U, V: total(overlaps(U, V)) / divide(*counts(U, V))


def null(i, j, d):
    return np.maximum(*np.ogrid[1 : i + 1, 1 : j + 1]) / d


def null_in_loops(i, j, d):
    return [[max(a, b) / d for b in range(1, j + 1)] for a in range(1, i + 1)]


def null_torch(i, j, d):
    return torch.maximum(torch.arange(1.0, i + 1)[:, None], torch.arange(1.0, j + 1)) / d


def table(f):
    return lambda i, j, d: torch.tensor([[f(a, b, d) for b in range(1, j + 1)] for a in range(1, i + 1)])


def factor(delta, W, rank):
    U, _, Vh = torch.linalg.svd(delta)
    return torch.linalg.norm(delta) / torch.linalg.norm(U[:, :rank].T @ W @ Vh[:rank].T)


def factor_numpy(delta, W, rank):
    U, S, Vh = np.linalg.svd(delta.double().numpy(), full_matrices=False)
    inside = U[:, :rank].T @ W.double().numpy() @ Vh.T[:, :rank]
    return np.sqrt((S**2).sum() / (inside**2).sum())


def factor_in_loops(delta, W, rank):
    U, S, Vh = svd(delta.double())
    total = sum(float(U[:, a] @ W.double() @ Vh[b]) ** 2 for a in range(rank) for b in range(rank))
    return float((S**2).sum() / total) ** 0.5


def factor_with(top=lambda D, r: D, inside=None, norm=torch.linalg.norm):
    def wrong(D, W, r):
        U, _, Vh = torch.linalg.svd(D, full_matrices=False)
        within = inside(U, W, Vh, r) if inside else U[:, :r].T @ W @ Vh[:r].T
        return norm(top(D, r)) / norm(within)

    return wrong


def factor_null(d, w, r, o, i):
    return d / (w * r / math.sqrt(o * i))


def truncated(B, A, k):
    U, S, Vh = factored(B, A)
    return U[:, :k] * S[:k], Vh[:k]


def truncated_by_roots(B, A, k):
    U, S, Vh = thin(B, A)
    root = S[:k].sqrt()
    return U[:, :k] @ torch.diag(root), torch.diag(root) @ Vh[:k]


def truncated_by_projection(B, A, k):
    Q = factored(B, A)[0][:, :k].double()
    return Q, Q.T @ B.double() @ A.double()


def cut(part, power=1.0):
    def wrong(B, A, k):
        U, S, Vh = factored(B, A)
        s = part(k, len(S))
        return U[:, s] * S[s] ** power, Vh[s]

    return wrong


def apart(B, A, k):
    left, right = truncate(B, k), truncate(A, k)
    return left.left, left.right @ dense(right)


def twice(B, A, k):
    U, S, Vh = factored(B, A)
    return U[:, :k] * S[:k], S[:k, None] * Vh[:k]


def medians(a, b):
    found = {"query": [], "value": []}
    for name in a:
        found[name.rsplit(".", 1)[1]].append(similarity(a[name], b[name]).phi[0, 0])
    return {kind: np.median(values) for kind, values in found.items()}


def medians_by_hand(a, b):
    def first(kind):
        cosines = [svd(a[n]).Vh[0].double() @ svd(b[n]).Vh[0].double() for n in sorted(a) if n.endswith("." + kind)]
        return median(float(c) ** 2 for c in cosines)

    return {"value": first("value"), "query": first("query")}


def medians_dense(a, b):
    kinds = {}
    for name in b:
        if name in a:
            value = similarity(dense(a[name]), dense(b[name]), top=1).phi.item()
            kinds.setdefault(name.split(".")[-1], []).append(value)
    return {kind: torch.tensor(values).quantile(0.5) for kind, values in kinds.items()}


def medians_with(centre=median, at=0, **options):
    def wrong(a, b):
        def values(kind):
            return [float(similarity(a[n], b[n], **options).phi[at, at]) for n in a if n.endswith(kind)]

        return {kind: centre(values(kind)) for kind in ("query", "value")}

    return wrong


def medians_anywhere(a, b):
    first = {name: similarity(a[name], b[name]).phi[0, 0] for name in a}
    return {kind: median(first[name] for name in a if kind in name) for kind in ("query", "value")}


def medians_or_else(a, b):
    query = [similarity(a[n], b[n]).phi[0, 0] for n in a if "query" in n]
    return {"query": median(query), "value": median(similarity(a[n], b[n]).phi[0, 0] for n in a if "query" not in n)}


def by_place(a, b):
    return medians(a, dict(zip(a, b.values())))


RIGHT = {
    "factored_svd": [factored, factored_in_double, factored_one_qr],
    "phi": [phi, phi_in_loops, phi_torch],
    "phi_null": [null, null_in_loops, null_torch],
    "factor": [factor, factor_numpy, factor_in_loops],
    "factor_null": [
        factor_null,
        lambda d, w, r, o, i: d * o**0.5 * i**0.5 / w / r,
        lambda d, w, r, o, i: (d**2 / (w**2 * (r / o) * (r / i))) ** 0.5,
    ],
    "truncated": [truncated, truncated_by_roots, truncated_by_projection],
    "medians": [medians, medians_by_hand, medians_dense],
}

WRONG = {
    "factored_svd": [
        (thin, r"B·A is formed"),
        (svd_of(lambda B, A: B @ A), "more came back"),
        (parts(Vh=lambda Vh: Vh.T), "you returned V"),
        (parts(U=lambda U, S: U.T), "U came back transposed"),
        (parts(S=torch.diag), "the diagonal alone"),
        (lambda B, A: (core(B, A)[4], core(B, A)[5], core(B, A)[6]), "coordinates of the QRs"),
        (parts(S=lambda S: S.flip(0)), "largest comes first"),
        (eigen, "squares of S"),
        (singular_values_of_a_factor, "of A alone"),
        (product_of_singular_values, "core of their own"),
        (parts(U=lambda U, S: U * S), "columns of U are not orthonormal"),
        (core_transposed, r"core transposed|not the singular values"),
        (flip_first, "sign turned round"),
        (other_pair, "same SVD"),
        (lambda B, A: factored(B, A)[1], "three things are asked for"),
    ],
    "phi": [
        (phi_with(divide=np.maximum), r"divided by max"),
        (phi_with(divide=lambda i, j: 1), "not divided"),
        (phi_with(divide=lambda i, j: i + 0 * j), "divided by i for"),
        (phi_with(divide=lambda i, j: j + 0 * i), "divided by j for"),
        (phi_with(divide=lambda i, j: i * j), "divided by i·j"),
        (phi_with(lambda o: np.abs(o).cumsum(0).cumsum(1)), "^the overlaps are not squared"),
        (phi_with(lambda o: np.sqrt((o**2).cumsum(0).cumsum(1))), "root was taken"),
        (phi_with(lambda o: o**2), "each pair of directions alone"),
        (phi_with(lambda o: (o**2).cumsum(0)), "over i only"),
        (phi_with(lambda o: (o**2).cumsum(1)), "over j only"),
        (lambda U, V: phi(U, U), "compare U with itself"),
        (lambda U, V: phi(V, V), "compare V with itself"),
        (lambda U, V: phi(V, U), "transposed"),
        (lambda U, V: phi(U, V)[-1, -1], "one number"),
        (lambda U, V: phi(U.T, V.T), "do not fit together"),
    ],
    "phi_null": [
        (table(lambda a, b, d: min(a, b) / d), "the smaller count"),
        (table(lambda a, b, d: a * b / d), "by chance: φ divides"),
        (table(lambda a, b, d: 0.0), "chance is not 0"),
        (table(lambda a, b, d: 1 / d), "alone"),
        (table(lambda a, b, d: a * b / d**2), "one power of d too many"),
        (table(lambda a, b, d: (max(a, b) / d) ** 0.5), "root was taken"),
        (table(lambda a, b, d: a / d), "i/d for every j"),
        (lambda i, j, d: max(i, j) / d, "one number for the whole"),
        (table(lambda a, b, d: (max(a, b) - 1) / d), "starts at 1"),
    ],
    "factor": [
        (lambda D, W, r: 1 / factor(D, W, r), "upside down"),
        (factor_with(top=lambda D, r: dense(truncate(D, r))), "cut to its top"),
        (lambda D, W, r: torch.linalg.norm(D) / torch.linalg.svdvals(W)[:r].norm(), "W's own directions"),
        (lambda D, W, r: torch.linalg.norm(W) / torch.linalg.norm(D) * factor(D, W, r), "‖W‖ over"),
        (factor_with(inside=lambda U, W, Vh, r: U.T @ W @ Vh.T), "all directions"),
        (factor_with(norm=lambda M: torch.linalg.matrix_norm(M, 2)), "largest singular value"),
        (lambda D, W, r: factor(D, W, r) ** 2, "are squared"),
        (lambda D, W, r: torch.linalg.norm(D) / factor(D, W, r), "alone: divide"),
        (factor_with(inside=lambda U, W, Vh, r: U[:, :r].T @ W @ Vh[:, :r]), "columns of Vh"),
        (factor_with(inside=lambda U, W, Vh, r: U[:, :r].T @ W @ U[:, :r]), "both sides: inputs"),
        (factor_with(inside=lambda U, W, Vh, r: U[:, :r].T @ W), "V is missing"),
        (factor_with(inside=lambda U, W, Vh, r: W @ Vh[:r].T), "U is missing"),
    ],
    "factor_null": [
        (lambda d, w, r, o, i: w * r / math.sqrt(o * i), "by chance: the factor divides"),
        (lambda d, w, r, o, i: 1 / factor_null(d, w, r, o, i), "upside down"),
        (lambda d, w, r, o, i: d / w / r * o * i, "without the root"),
        (lambda d, w, r, o, i: d / w / math.sqrt(r) * math.sqrt(o * i), "√r for r"),
        (lambda d, w, r, o, i: d / w * math.sqrt(o * i), "the rank is missing"),
        (lambda d, w, r, o, i: d * o / (w * r), "takes out for both"),
        (lambda d, w, r, o, i: d * i / (w * r), "takes in for both"),
        (lambda d, w, r, o, i: d * math.sqrt(o * i) / r, "‖W‖ is missing"),
        (lambda d, w, r, o, i: 1.0, "chance is not 1"),
    ],
    "truncated": [
        (lambda B, A, k: (B[:, :k], A[:k]), "in no order"),
        (cut(lambda k, r: slice(0, k), power=0), "S is missing"),
        (twice, "on both sides"),
        (cut(lambda k, r: slice(0, k), power=0.5), "one side only"),
        (cut(lambda k, r: slice(r - k, r)), "smallest k"),
        (lambda B, A, k: (B, A), "nothing is cut"),
        (cut(lambda k, r: slice(0, k - 1)), "too few"),
        (cut(lambda k, r: slice(0, k + 1)), "too many"),
        (apart, "cut apart"),
        (lambda B, A, k: truncated(B, A, k)[0] @ truncated(B, A, k)[1], "one matrix came back"),
        (lambda B, A, k: [t.T for t in truncated(B, A, k)], r"left is \(out, k\)"),
        (cut(lambda k, r: slice(1, k + 1)), "counting starts at 0"),
    ],
    "medians": [
        (medians_with(mean), "means"),
        (medians_with(max), "the largest of each"),
        (medians_with(side="left"), "left side"),
        (medians_with(of="A"), "on the factor A"),
        (medians_with(at=-1), "all directions"),
        (lambda a, b: medians(a, a), "compared with itself"),
        (by_place, "by their place"),
        (
            lambda a, b: dict.fromkeys(("query", "value"), medians_with()(a, b)["query"]),
            "query and value apart, and their median",
        ),
        (lambda a, b: dict(zip(("value", "query"), medians(a, b).values())), "swapped"),
        (medians_with(lambda values: values[0]), "only the first layer"),
        (medians_anywhere, "may stand elsewhere"),
    ],
}


class TestInsideDeltaW(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG


def test_what_is_no_query_is_no_value_yet():
    for seed in range(8):
        for wrong in (medians_anywhere, medians_or_else):
            with pytest.raises(CheckFailed, match=r"query_pooler\.value: the last part says"):
                inside.check_medians(wrong, seed=seed)
