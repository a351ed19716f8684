"""Every term stands in the glossary once, and every link between it and the lessons leads somewhere."""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
GLOSSARY = (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^### (.+)$", GLOSSARY, re.M)
ANCHORS = {term.replace(" ", "-") for term in TERMS}
LINKED = (
    "00_start_here",
    "01_derive",
    "03_merge_and_serve",
    "04_inside_delta_w",
    "05_intrinsic_rank",
    "06_which_weights",
    "09_bring_your_own",
)


def prose(path):
    return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")


def anchors_in(text, page=""):
    return re.findall(rf"\]\({re.escape(page)}#([a-z-]+)\)", text)


def test_terms_stand_once_and_in_order():
    assert sorted(set(TERMS)) == TERMS
    assert all(re.fullmatch("[a-z]+([ -][a-z]+)*", term) for term in TERMS), "JupyterLab and GitHub anchor these alike"


def test_every_term_says_something():
    entries = re.split(r"^### .+$", GLOSSARY, flags=re.M)[1:]
    assert [term for term, entry in zip(TERMS, entries) if len(entry.split()) < 8] == []


def test_links_within_the_glossary():
    assert set(anchors_in(GLOSSARY)) <= ANCHORS
    pages = set(re.findall(r"\]\(([\w./]+\.ipynb)\)", GLOSSARY))
    assert [page for page in pages if not (NOTEBOOKS / page).exists()] == []


def test_links_from_the_lessons_lead_to_a_term():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        assert set(anchors_in(prose(path), "glossary.md")) <= ANCHORS, path.name


def test_a_section_named_is_there():
    """ "[Title](page.ipynb), section 3" means that the page has a heading that begins with 3."""
    for page, number in re.findall(r"\]\(([\w.]+\.ipynb)\),\s+section\s+(\d+)", GLOSSARY):
        assert re.search(rf"^## {number} ·", prose(NOTEBOOKS / page), re.M), f"{page} has no section {number}"


def test_lessons_link_their_terms():
    for name in LINKED:
        assert len(set(anchors_in(prose(NOTEBOOKS / f"{name}.ipynb"), "glossary.md"))) >= 2, name
