"""Puts programs and transcripts into the pages of the tutorial, where a page names them:

    <!-- include: connect/01_default_server.py -->

    python -m tests.tutorial.pages     write the pages anew

The block below the marker is made here and never edited; a test fails when it is not current.
"""

import re
from pathlib import Path

from tests.structure.sources import ROOT
from tests.tutorial.transcript import PROGRAMS

PAGES = ROOT / "docs" / "tutorial"
_INCLUDE = re.compile(r"<!-- include: (\S+) -->\n(?:\n```[a-z]*\n.*?\n```\n)?", re.DOTALL)
_LANGUAGES = {".py": "python", ".console": "console"}


def list_pages() -> list[Path]:
    """The pages, of all languages."""
    return sorted(PAGES.rglob("*.md"))


def included(text: str) -> list[str]:
    """What a page names."""
    return [found[1] for found in _INCLUDE.finditer(text)]


def fill(text: str) -> str:
    """The page with the files that it names."""

    def block(found: re.Match[str]) -> str:
        path = PROGRAMS / found[1]
        language = _LANGUAGES.get(path.suffix, "text")
        return f"<!-- include: {found[1]} -->\n\n```{language}\n{path.read_text().rstrip()}\n```\n"

    return _INCLUDE.sub(block, text)


if __name__ == "__main__":
    for page in list_pages():
        page.write_text(fill(page.read_text()))
