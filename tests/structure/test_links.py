"""What the documents point to is there: files, and headings in them."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.structure.sources import ROOT, show

_LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.*?)\s*$", re.MULTILINE)
_FOREIGN = frozenset((".venv", ".venv-proto", "node_modules", "build", "dist", "target"))


def list_pages() -> list[Path]:
    """All Markdown files that people write."""
    pages = ROOT.rglob("*.md")
    return sorted(p for p in pages if _FOREIGN.isdisjoint(p.relative_to(ROOT).parts))


def iter_links(text: str) -> Iterator[str]:
    """The targets of the links that stay in the checkout."""
    for target in _LINK.findall(_FENCE.sub("", text)):
        if not re.match(r"[a-z][a-z0-9+.-]*:", target):
            yield target


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link may name behind `#`, as GitHub makes it of the headings."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def leads_nowhere(page: Path, target: str) -> bool:
    """Whether a link's file, or the heading in it, is missing."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return True
    return bool(anchor) and path.suffix == ".md" and anchor not in anchors(path)


def test_links_are_read_outside_of_code() -> None:
    text = "[a](x.md) and ![b](y.png) [c](https://host/z)\n```\n[d](no.md)\n```\n[e](#part)"
    assert list(iter_links(text)) == ["x.md", "y.png", "#part"]


def test_every_link_of_a_page_leads_somewhere() -> None:
    pages = list_pages()
    assert ROOT / "README.md" in pages
    assert [
        f"{show(page)}: {target}"
        for page in pages
        for target in iter_links(page.read_text())
        if leads_nowhere(page, target)
    ] == []


def test_the_readme_says_the_same_in_both_languages() -> None:
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    for pattern in (r"^```.*?^```", r"`make [a-z-]+`"):
        found = [re.findall(pattern, text, re.DOTALL | re.MULTILINE) for text in (english, chinese)]
        assert found[0] == found[1] != []
    targets = [[t for t in iter_links(text) if "README" not in t] for text in (english, chinese)]
    assert targets[0] == targets[1]
    assert english.count("\n|") == chinese.count("\n|")
