"""Four corpora of sentences, each rated by twenty people from -4 to 4 (Hutto and Gilbert 2014), as five tasks.

    polarity: sign(rating) where |rating| ≥ 0.5        source: which corpus a sentence comes from

A file is `id TAB rating TAB text` with CRLF and no quoting. Reviews and articles were cut into sentences, and
`id = <review>_<sentence>`: what comes from one review stays on one side.
"""

import html
import tarfile
from functools import cache
from typing import NamedTuple

from lorakit import assets
from lorakit.data.splits import divide, normalised, side, strictest
from lorakit.data.task import Task

FILES = {
    "movies": "movieReviewSnippets",
    "tweets": "tweets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
}


class Sentence(NamedTuple):
    """One sentence, its mean rating in [-4, 4], where it comes from, and on which side it stands."""

    text: str
    rating: float
    corpus: str
    side: str


def polarity(corpus: str) -> Task:
    """0 negative, 1 positive; sentences whose mean rating is within ±0.5 are left out."""
    rated = [s for s in _sentences() if s.corpus == corpus and abs(s.rating) >= 0.5]
    return _task(corpus, (((s.text, int(s.rating > 0)), s.side) for s in rated), ("negative", "positive"))


def source() -> Task:
    """Which of the four corpora a sentence was written for, whatever its rating."""
    labels = tuple(FILES)
    return _task("source", (((s.text, labels.index(s.corpus)), s.side) for s in _sentences()), labels)


def _task(name, placed, labels):
    asset = assets.named("corpora")
    return Task(name, *divide(placed, _sides()), labels, asset.licence, asset.citation, asset.provenance)


@cache
def _sentences() -> list[Sentence]:
    """Every sentence of the four, each on the side of its review, article or, for want of those, of itself."""
    archive = assets.fetch("corpora") / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as package:
        return [sentence for corpus in FILES for sentence in _read(package, corpus)]


def _read(package, corpus):
    text = package.extractfile(f"hutto_ICWSM_2014/{FILES[corpus]}_GroundTruth.txt").read().decode("utf-8")
    for line in filter(None, text.split("\r\n")):
        key, rating, said = line.split("\t", 2)
        said = html.unescape(html.unescape(said)).strip()  # a few editorials are escaped twice
        group, cut, _ = key.partition("_")
        yield Sentence(said, float(rating), corpus, side(f"{corpus}/{group}" if cut else normalised(said)))


@cache
def _sides() -> dict[str, str]:
    """One side a text over all four corpora, so that no task's test sentence is in another task's training."""
    return strictest((s.text, s.side) for s in _sentences())
