"""Real tasks that load offline, a user's own rows in the same form, and planted tasks whose true rank is known.

corpus ── side of each text ──> Task(train, validation, test, labels) ── tokenizer ──> Batches
"""

from collections.abc import Callable
from functools import partial

from lorakit.data import corpora, topics
from lorakit.data.batches import Batches
from lorakit.data.own import from_csv, from_jsonl, from_pairs
from lorakit.data.planting import Planted, planted
from lorakit.data.stdlib import docstrings
from lorakit.data.task import Completion, Task

__all__ = [
    "TASKS",
    "Batches",
    "Completion",
    "Planted",
    "Task",
    "from_csv",
    "from_jsonl",
    "from_pairs",
    "load_task",
    "planted",
]

TASKS: dict[str, Callable[[], Task]] = {
    **{name: partial(corpora.polarity, name) for name in corpora.FILES},
    "source": corpora.source,
    **{name: partial(topics.topic, name) for name in topics.FILES},
    "docstrings": docstrings,
}


def load_task(name: str) -> Task:
    """One of `TASKS` by name; its corpus is fetched first if it is not in the cache.

    Raises ValueError for another name, and what `lorakit.assets.fetch` raises.
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]()
