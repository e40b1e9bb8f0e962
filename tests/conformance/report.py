"""Run the suite and write docs/conformance.md: a row a statement, passing or the reason why not.

`python tests/conformance/report.py` runs it all; more arguments go to pytest. It ends with
pytest's status, so that a failing statement fails the command. Tests of other directories take
part when their docstring carries a statement's number in brackets.
"""

import ast
import os
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "conformance.md"
STORES = ("MEMORY", "SQL")
MARKS = {"passed": "passes", "failed": "**fails**", "skipped": "skipped"}
HEADING = """\
# Conformance

Every statement of the NATS Streaming protocol that this project keeps count of, and the tests
that prove it. `make conformance` runs them and writes this page. The tests in
`tests/conformance/` speak raw protobuf over a real NATS server to a server process; they are the
same ones that pass on the original server, v0.25.6.
"""


class Outcomes:
    """A pytest plugin: which tests bear on a statement, and how they ended."""

    def __init__(self, elsewhere: dict[str, set[int]]) -> None:
        self.elsewhere = elsewhere
        self.of_test: dict[str, set[int]] = {}
        self.store_of_test: dict[str, str] = {}
        self.ended: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note the numbers that the test carries and the store that it runs on."""
        numbers = {n for mark in item.iter_markers("statement") for n in mark.args}
        numbers |= self.elsewhere.get(item.nodeid.partition("[")[0], set())
        if not numbers:
            return
        self.of_test[item.nodeid] = numbers
        parameters = getattr(item, "callspec", None)
        if parameters is not None:
            store = parameters.params.get("store") or parameters.params.get("persistent_store")
            self.store_of_test[item.nodeid] = str(store or "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of a test's phases."""
        if report.failed or (report.outcome == "skipped" and report.when != "teardown"):
            self.ended[report.nodeid] = report.outcome
        elif report.when == "call":
            self.ended.setdefault(report.nodeid, report.outcome)

    def verdict(self, number: int, store: str) -> str:
        """How the tests of a statement ended on this store; "-" when there is none."""
        outcomes = {
            self.ended.get(test, "failed")
            for test, numbers in self.of_test.items()
            if number in numbers and self.store_of_test.get(test) in (store, "", None)
        }
        for outcome in ("failed", "passed", "skipped"):
            if outcome in outcomes:
                return MARKS[outcome]
        return "-"

    def files(self, number: int) -> list[str]:
        """Where the tests of a statement are."""
        tests = (test for test, numbers in self.of_test.items() if number in numbers)
        return sorted({test.partition("::")[0] for test in tests})


def tests_elsewhere() -> dict[str, set[int]]:
    """Node IDs of tests outside this directory that carry numbers, and the numbers."""
    found: dict[str, set[int]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if HERE in path.parents:
            continue
        for prefix, function in test_functions(ast.parse(path.read_text())):
            numbers = re.findall(r"\[(\d+(?:, *\d+)*)\]", ast.get_docstring(function) or "")
            for group in numbers:
                node_id = f"{path.relative_to(ROOT).as_posix()}::{prefix}{function.name}"
                found[node_id] |= {int(number) for number in group.split(",")}
    return found


def test_functions(
    module: ast.Module,
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The tests of a module, each with the prefix of its class."""
    for node in module.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if member.name.startswith("test"):
                yield prefix, member


def write_page(outcomes: Outcomes) -> None:
    """Write the page from the outcomes."""
    sections = tomllib.loads((HERE / "statements.toml").read_text())
    reasons = {int(number): why for number, why in sections.pop("reasons").items()}
    lines = [HEADING]
    for title, statements in sections.items():
        lines += [f"## {title}", "", "| | Statement | memory | SQLite | Tests |", "|-|-|-|-|-|"]
        for key, text in statements.items():
            number = int(key)
            files = ", ".join(f"`{name.removeprefix('tests/')}`" for name in outcomes.files(number))
            why = files or reasons.get(number, "no test yet")
            memory, sql = (outcomes.verdict(number, store) for store in STORES)
            lines.append(f"| {number} | {text} | {memory} | {sql} | {why} |")
        lines.append("")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(lines))


def main(arguments: list[str]) -> int:
    """Run the tests, write the page, return pytest's status."""
    elsewhere = tests_elsewhere()
    outcomes = Outcomes(elsewhere)
    status = pytest.main(
        ["--rootdir", str(ROOT), "-q", str(HERE), *elsewhere, *arguments], plugins=[outcomes]
    )
    if "STAN_TEST_SERVER" not in os.environ:  # the page is about this project's server
        write_page(outcomes)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
