"""What the documentation site has beside the pages of docs: mkdocs calls these by name.

The README, CONTRIBUTING and CHANGELOG become pages; so does every file outside of docs that a
page links to, with its text as code. Links are turned to these pages, so that no link of the site
leads out of it, and the build fails when a page loads anything from elsewhere. The decisions are
listed in the order of their numbers.
"""

import logging
import os
import re
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Where pages of the site lie in the checkout, when it is not in docs under the same name.
ELSEWHERE = {
    "index.md": ROOT / "README.md",
    "index.zh.md": ROOT / "README.zh.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
}
DECISIONS = "decisions/index.md"
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"(^(```|~~~).*?^\2)", re.DOTALL | re.MULTILINE)
_LOADED = re.compile(
    r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*"""
)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".service": "ini", ".md": "markdown"}


def locate(uri: str) -> Path:
    """The file of the checkout that a page is made of."""
    return ELSEWHERE.get(uri, DOCS / uri)


def name_source(path: Path) -> str:
    """The page made for a file or folder that the site does not have by itself."""
    return f"source/{path.relative_to(ROOT).as_posix()}.md"


def name_page(path: Path) -> str | None:
    """The page that shows a file or folder of the checkout; None when there is no such file."""
    for uri, origin in ELSEWHERE.items():
        if path == origin:
            return uri
    if path == DOCS / "decisions":
        return DECISIONS
    if path.is_relative_to(DOCS) and path.is_file():
        return path.relative_to(DOCS).as_posix()
    if path.is_relative_to(ROOT) and path.exists():
        return name_source(path)
    return None


def turn_links(text: str, uri: str) -> tuple[str, set[Path]]:
    """The page's text with links to pages of the site, and the files that need one made."""
    needed: set[Path] = set()
    folder = locate(uri).parent

    def turn(link: re.Match[str]) -> str:
        if re.match(r"[a-z][a-z0-9+.-]*:", link[2]):
            return link[0]
        path = Path(os.path.normpath(folder / unquote(link[2])))
        if (target := name_page(path)) is None:
            return link[0]  # the build says that it is broken
        if target.startswith("source/"):
            needed.add(path)
        return link[1] + os.path.relpath(target, os.path.dirname(uri) or ".") + link[3]

    # Every third piece is the marker of a fence, that before it the code.
    pieces = _FENCE.split(text)
    pieces[::3] = [_LINK.sub(turn, piece) for piece in pieces[::3]]
    del pieces[2::3]
    return "".join(pieces), needed


def show_source(path: Path) -> str:
    """A page with the text of a file, or with the files of a folder."""
    name = path.relative_to(ROOT).as_posix()
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"
    if path.is_dir():
        entries = "".join(
            f"- `{file.relative_to(path).as_posix()}`\n"
            for file in sorted(path.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        )
        return f"{hidden}# {name}\n\n{entries}"
    language = _LANGUAGES.get(path.suffix, "text")
    return f"{hidden}# {name}\n\n````{language}\n{path.read_text()}\n````\n"


def list_decisions(files: Files) -> list[str]:
    """The pages of the decisions in their order."""
    return sorted(
        file.src_uri
        for file in files.documentation_pages()
        if file.src_uri.startswith("decisions/") and file.src_uri != DECISIONS
    )


def title(uri: str) -> str:
    """The heading of a page."""
    return locate(uri).read_text().partition("\n")[0].removeprefix("# ")


def on_pre_build(*, config: MkDocsConfig) -> None:
    """Keep what cuts Chinese into words from saying how long it took."""
    logging.getLogger("jieba").setLevel(logging.WARNING)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs, and the decisions to the navigation."""
    for uri, path in ELSEWHERE.items():
        files.append(File.generated(config, uri, content=path.read_text()))
    decisions = list_decisions(files)
    entries = "".join(f"- [{title(uri)}]({os.path.basename(uri)})\n" for uri in decisions)
    contents = f"# Decisions\n\nWhat was decided, and why.\n\n{entries}"
    files.append(File.generated(config, DECISIONS, content=contents))
    config.nav = [
        {"Decisions": [DECISIONS, *decisions]} if "Decisions" in entry else entry
        for entry in config.nav or []
    ]
    needed: set[Path] = set()
    for file in files.documentation_pages():
        needed |= turn_links(file.content_string, file.src_uri)[1]
    for path in sorted(needed):
        page = File.generated(config, name_source(path), content=show_source(path))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of the pages that people write."""
    if page.file.src_uri.startswith("source/") or page.file.src_uri == DECISIONS:
        return markdown
    return turn_links(markdown, page.file.src_uri)[0]


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that is not complete without a network."""
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output
