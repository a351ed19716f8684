"""Every link in a committed page leads somewhere: to a file that is here, and to a heading that it has."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *(page for folder in ("notebooks", "data", "benchmarks") for page in (ROOT / folder).rglob("*.md")),
]
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")


def anchors(text):
    """What a heading is linked by."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    own = re.findall(r'<a (?:id|name)="([^"]+)"', text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | {*own}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in LINK.findall(text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name} links {link}"


def test_the_readme_leads_to_the_guide_and_the_guide_to_every_assignment_and_lesson():
    assert "notebooks/assignments/README.md" in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    linked = set(LINK.findall((ROOT / "notebooks" / "assignments" / "README.md").read_text(encoding="utf-8")))
    assignments = {path.name for path in (ROOT / "notebooks" / "assignments").glob("*.ipynb")}
    lessons = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {name for name in linked if name.endswith(".ipynb") and "/" not in name} == assignments
    assert {Path(name).name for name in linked if name.startswith("../")} <= lessons
