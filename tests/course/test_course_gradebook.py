"""What a person marks in nbgrader's own form: it stays with its text, and no text can give itself marks there."""

import json
import os
import re
import warnings
from html.parser import HTMLParser

import pytest
from classroom import ROOT, SMALL, notebook

from lorakit.course.marking import Mark, Marking
from lorakit.course.submissions import merge

pytest.importorskip("nbgrader", reason="the graders have a virtual environment of their own: make test-grading")
pytestmark = pytest.mark.grading
MARKING = Marking(tuple(Mark(c.id, c.exercise, c.points, c.points, "✓") for c in SMALL.of("check", "hidden")))


@pytest.fixture
def book(tmp_path):
    from lorakit.course.gradebook import Gradebook

    one = Gradebook(tmp_path, SMALL)
    one.prepare()
    return one


def hand_in(book, why, student="ada"):
    filled = notebook()
    next(one for one in filled["cells"] if one["id"] == "why")["source"] = why
    return book.record(student, merge(SMALL, filled["cells"]).cells, MARKING)


def give(book, points, student="ada"):
    """As Formgrader does when a box is left."""
    from nbgrader.api import Gradebook

    with Gradebook(book.database) as marks:
        found = marks.find_grade("why", "0_small", "0_small", student)
        assert found.needs_manual_grade
        found.manual_score, found.needs_manual_grade = points, False
        marks.db.commit()


def test_points_stay_with_a_text_that_is_what_it_was(book):
    assert hand_in(book, "B is zero.") == ()
    give(book, 2.5)
    for _ in range(2):
        said = hand_in(book, "B is zero.")
        assert said == ("the text 'why' is what it was when it was marked: its points stay, 2.5",)
        assert book.scores("ada")["why"] == 2.5


def test_points_go_with_a_text_that_is_another(book):
    hand_in(book, "B is zero.")
    hand_in(book, "B is zero.", "bea")
    give(book, 2.5)
    give(book, 1.0, "bea")
    said = hand_in(book, "B is not zero.")
    assert said == ("the text 'why' is another than was marked: it had 2.5 points, and waits for new ones",)
    assert book.scores("ada")["why"] is None
    assert hand_in(book, "B is not zero.") == ()
    assert hand_in(book, "B is zero.") == ()  # what was marked once and taken back is read again
    assert book.scores("ada")["why"] is None
    assert book.scores("bea")["why"] == 1.0
    give(book, 3.0)
    assert book.scores("ada")["why"] == 3.0


def test_points_that_were_never_given_are_nobody_s(book):
    hand_in(book, "B is zero.")
    assert hand_in(book, "B is zero.") == ()
    assert book.scores("ada")["why"] is None


def test_nbgrader_warns_of_nothing_and_other_warnings_are_heard(book):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pytest.importorskip("sqlalchemy").exc.SAWarning)
        hand_in(book, "B is zero.")
    text = (ROOT / "lorakit" / "course" / "gradebook.py").read_text(encoding="utf-8")
    assert re.findall(r"filterwarnings\((.*)\)", text) == ['"ignore", "Object of type <Submitted.* not in session"']


HARMFUL = """So **B** is zero: a < b, $a<b$, `x<y`.
<script>evil()</script> <img src=x onerror="evil()"> <svg/onload=evil()> <!-- evil() -->
[click](javascript:evil()) [click][me] ![see](http://example.org/pixel.png) <javascript:evil()>

[me]: javascript:evil()

<details><summary onclick="evil()">more</summary></details>
"""


class Harm(HTMLParser):
    """Tags with code of the text in them."""

    def __init__(self):
        super().__init__()
        self.found, self.tag = [], ""

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.found += [(tag, name, value) for name, value in attrs if "evil" in (value or "")]

    def handle_data(self, data):
        self.found += [(self.tag, data)] if self.tag == "script" and "evil" in data else []

    def handle_comment(self, data):
        self.found += [("comment", data)] if "evil" in data else []


def rendered(path):
    """The page that Formgrader shows."""
    import nbgrader
    from nbconvert.exporters import HTMLExporter
    from traitlets.config import Config

    templates = os.path.join(os.path.dirname(nbgrader.__file__), "server_extensions", "formgrader", "templates")
    config = Config({"HTMLExporter": {"template_name": "formgrade", "extra_template_basedirs": [templates]}})
    names = ("assignment_id", "notebook_id", "submission_id", "base_url", "student", "last_name", "first_name")
    about = {**dict.fromkeys((*names, "notebook_path"), ""), "index": 0, "total": 1}
    return HTMLExporter(config=config).from_filename(str(path), resources=about)[0]


def harm(page):
    reader = Harm()
    reader.feed(page)
    return reader.found


def test_a_text_runs_nothing_where_the_lecturer_is_logged_in(book, tmp_path):
    hand_in(book, HARMFUL)
    marked = tmp_path / "autograded" / "ada" / "0_small" / "0_small.ipynb"
    page = rendered(marked)
    assert harm(page) == []
    assert not re.search(r"<img[^>]*example\.org", page)
    assert "<strong>B</strong>" in page
    assert "a &lt; b" in page
    raw = json.loads(marked.read_text())
    next(one for one in raw["cells"] if one["id"] == "why")["source"] = HARMFUL
    marked.write_text(json.dumps(raw))
    assert len(harm(rendered(marked))) >= 4  # as it came, it would
    hand_in(book, HARMFUL)
    give(book, 2.0)
    assert "its points stay, 2" in hand_in(book, HARMFUL)[0]
