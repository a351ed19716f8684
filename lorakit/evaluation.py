"""How good a model is on labelled batches, and how sure so few rows let one be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorakit.modes import evaluating


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Mean loss and share of labels predicted right, over `count` labels that are not -100."""

    loss: float
    accuracy: float
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927): what so few rows can tell."""
        z, n, p = 1.96, self.count, self.accuracy
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)

    def __repr__(self) -> str:
        low, high = self.interval
        return f"Evaluation(accuracy {self.accuracy:.3f} [{low:.3f}, {high:.3f}], loss {self.loss:.3f}, n={self.count})"


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[dict[str, Tensor]], *, progress: bool = False) -> Evaluation:
    """Loss and accuracy of `model` on labelled batches, in eval mode; for a causal LM, of each next token.

    Loss is in nats a label, accuracy a share in [0, 1]; labels of −100 do not count. Raises ValueError where all are.
    """
    from tqdm.auto import tqdm

    loss, right, count = 0.0, 0, 0
    size = len(batches) if isinstance(batches, Sized) else None
    device = next(model.parameters()).device
    with evaluating(model), tqdm(total=size, disable=not progress, leave=False) as bar:
        for batch in batches:
            batch = {key: tensor.to(device) for key, tensor in batch.items()}
            out, labels = model(**batch), batch["labels"]
            shifted = labels.ndim == 2
            guess = out.logits.argmax(-1)
            guess, labels = (guess[:, :-1], labels[:, 1:]) if shifted else (guess, labels)
            counted = int((labels != -100).sum())
            loss += float(out.loss) * counted if counted else 0.0  # a mean over nothing is no number
            right, count = right + int((guess == labels).sum()), count + counted
            bar.update()
    if not count:
        raise ValueError("nothing to evaluate: the batches hold no label that is not -100")
    return Evaluation(loss / count, right / count, count)
