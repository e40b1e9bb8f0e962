"""The pages show the programs as they are, all of them, in each language."""

import re
from pathlib import Path

import pytest

from tests.structure.sources import show
from tests.tutorial.pages import PAGES, fill, included, list_pages
from tests.tutorial.transcript import PROGRAMS

ENGLISH = sorted(PAGES.glob("*.md"))


@pytest.mark.parametrize("page", list_pages(), ids=show)
def test_a_page_shows_the_files_as_they_are(page: Path) -> None:
    assert fill(page.read_text()) == page.read_text()


def test_every_program_and_transcript_is_on_a_page() -> None:
    shown = {name for page in ENGLISH for name in included(page.read_text())}
    there = {
        str(path.relative_to(PROGRAMS))
        for suffix in ("py", "console", "conf")
        for path in PROGRAMS.glob(f"*/*.{suffix}")
    }
    assert there
    assert shown == there


@pytest.mark.parametrize("page", ENGLISH, ids=show)
def test_a_translation_shows_the_same(page: Path) -> None:
    translation = page.parent / "zh" / page.name
    if translation.exists():
        assert included(translation.read_text()) == included(page.read_text())


@pytest.mark.parametrize("language", ["", "zh"])
def test_the_index_leads_to_every_section_and_each_shows_something(language: str) -> None:
    linked = set(re.findall(r"\((\w+\.md)#([^)]+)\)", (PAGES / language / "index.md").read_text()))
    sections = set()
    for page in (PAGES / language).glob("*.md"):
        if page.name == "index.md":
            continue
        for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            title, _, text = section.partition("\n")
            sections.add((page.name, slugify(title, "-")))
            assert included(text), f"{page.name}: {title} shows no program"
            assert not text.lstrip().startswith("<!--"), f"{page.name}: {title} says nothing"
    assert linked == sections


def slugify(title: str, separator: str) -> str:
    """How the site names a section."""
    kept = re.sub(r"[^\w\s-]", "", title.lower()).strip()
    return re.sub(r"\s+", separator, kept)
