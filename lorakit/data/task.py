"""A task is its rows on three sides, what its labels mean, and how text becomes batches."""

from collections import Counter
from dataclasses import dataclass, field

from lorakit.data.batches import Batches


@dataclass(frozen=True, eq=False)
class Task:
    """Classification: rows are (text, label), a label being an index into `labels`.

    Raises ValueError for fewer than two labels, and when a split is asked for that is empty or of another name.
    """

    name: str
    train: list[tuple] = field(repr=False)
    validation: list[tuple] = field(repr=False)
    test: list[tuple] = field(repr=False)
    labels: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    provenance: str = ""

    def __repr__(self):
        sizes = " / ".join(f"{len(rows):,}" for rows in (self.train, self.validation, self.test))
        return f"{type(self).__name__}({self.name!r}, {sizes} rows, labels={list(self.labels)})"

    def batches(self, split, tokenizer, batch_size=32, *, max_length=64, seed=0, shuffle=None) -> Batches:
        """Length-bucketed batches of "train", "validation" or "test": input_ids, attention_mask (B, T), labels (B,).

        `shuffle` is on for "train" and off elsewhere. Deterministic for a seed; see `Batches` for epochs.
        """
        if not self.side(split):
            raise ValueError(f"{self.name} has no rows in {split!r}: {self!r}")
        rows = self.encode(self.side(split), tokenizer, max_length)
        shuffle = split == "train" if shuffle is None else shuffle
        return Batches(rows, batch_size, pad=_padding(tokenizer), seed=seed, shuffle=shuffle)

    def side(self, split: str) -> list[tuple]:
        """The rows of one side. Raises ValueError for another name than the three."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        if split not in sides:
            raise ValueError(f"no split is called {split!r}; there are {', '.join(sides)}")
        return sides[split]

    def encode(self, rows, tokenizer, max_length) -> list[dict]:
        """One dict of token ids a row, cut at max_length."""
        tokens = tokenizer([text for text, _ in rows], truncation=True, max_length=max_length)
        encoded = zip(tokens["input_ids"], tokens["attention_mask"], rows)
        return [dict(input_ids=ids, attention_mask=mask, labels=label) for ids, mask, (_, label) in encoded]

    @classmethod
    def coded(cls, pairs, name) -> tuple[list[tuple], tuple[str, ...]]:
        """(rows, labels) of (text, label) pairs: the labels sorted, each row with its label's index."""
        labels = tuple(sorted({str(label) for _, label in pairs}))
        if len(labels) < 2:
            raise ValueError(f"{name} needs two labels or more to tell apart; it has {list(labels)}")
        return [(text, labels.index(str(label))) for text, label in pairs], labels

    def majority(self, split: str = "test") -> float:
        """Accuracy of always saying the training rows' most frequent label: the floor under every result."""
        usual = Counter(label for _, label in self.train).most_common(1)[0][0]
        rows = self.side(split)
        return sum(label == usual for _, label in rows) / len(rows)


class Completion(Task):
    """Causal language modelling: rows are (prompt, answer) and only the answer is learned."""

    @classmethod
    def coded(cls, pairs, name) -> tuple[list[tuple], tuple[str, ...]]:
        """(rows, no labels): a pair is a row already."""
        return list(pairs), ()

    def encode(self, rows, tokenizer, max_length) -> list[dict]:
        """Prompt, answer, end of text; labels are -100 on the prompt, so that the loss is the answer's."""
        prompts, answers = (tokenizer(list(texts), add_special_tokens=False)["input_ids"] for texts in zip(*rows))
        return [_joined(p, [*a, tokenizer.eos_token_id], max_length) for p, a in zip(prompts, answers)]


def _joined(prompt, answer, max_length):
    """The prompt loses its beginning before the answer loses its end, down to half of max_length each."""
    prompt = prompt[-max(max_length - len(answer), max_length // 2) :]
    answer = answer[: max_length - len(prompt)]
    ids = prompt + answer
    return dict(input_ids=ids, attention_mask=[1] * len(ids), labels=[-100] * len(prompt) + answer)


def _padding(tokenizer):
    """The mask hides padding, so any token will do where a tokenizer has none for it."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
