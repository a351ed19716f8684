"""A judge that finds the checks of this folder: `judge = pytest.fixture(own_judge, scope="module")`."""

import os
from pathlib import Path

import pytest

from lorakit.course.judging import Judge

HERE = Path(__file__).parent


def own_judge():
    """One judge, ended on leaving."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(str(HERE))
        with Judge() as one:
            yield one
