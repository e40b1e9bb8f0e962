"""Run the suite and write docs/conformance.md: a row a statement, passing or the reason why not.

`python tests/conformance/report.py` runs it all; more arguments go to pytest. It ends with
pytest's status, so that a failing statement fails the command. Tests of other directories take
part when their name carries a statement's number or statements.toml lists them.
"""

import os
import re
import sys
import tomllib
from collections import defaultdict
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
same ones that pass on the original server, v0.25.6. A dash means that a statement has nothing to
say of a store, such as of a memory store after a restart.
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


def tests_elsewhere(table: dict[str, list[str]]) -> dict[str, set[int]]:
    """Node IDs of tests outside this directory that prove statements, and which: those of the
    table, and those with a number in their name, as in `test_statement_119_...`."""
    found: dict[str, set[int]] = defaultdict(set)
    for number, tests in table.items():
        for test in tests:
            found[test].add(int(number))
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if HERE in path.parents:
            continue
        for name, number in re.findall(
            r"^(?:async )?def (test_statement_(\d+)\w*)", path.read_text(), re.MULTILINE
        ):
            found[f"{path.relative_to(ROOT).as_posix()}::{name}"].add(int(number))
    return found


def write_page(
    outcomes: Outcomes, sections: dict[str, dict[str, str]], reasons: dict[str, str]
) -> None:
    """Write the page from the outcomes."""
    lines = [HEADING]
    for title, statements in sections.items():
        lines += [f"## {title}", "", "| | Statement | memory | SQLite | Tests |", "|-|-|-|-|-|"]
        for key, text in statements.items():
            number = int(key)
            files = ", ".join(f"`{name.removeprefix('tests/')}`" for name in outcomes.files(number))
            why = files or reasons.get(key, "no test yet")
            memory, sql = (outcomes.verdict(number, store) for store in STORES)
            lines.append(f"| {number} | {text} | {memory} | {sql} | {why} |")
        lines.append("")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(lines))


def main(arguments: list[str]) -> int:
    """Run the tests, write the page, return pytest's status."""
    sys.path.insert(0, str(ROOT))
    sections = tomllib.loads((HERE / "statements.toml").read_text())
    reasons = sections.pop("reasons")
    elsewhere = tests_elsewhere(sections.pop("elsewhere"))
    outcomes = Outcomes(elsewhere)
    status = pytest.main(
        ["--rootdir", str(ROOT), "-q", str(HERE), *elsewhere, *arguments], plugins=[outcomes]
    )
    if "STAN_TEST_SERVER" not in os.environ:  # the page is about this project's server
        write_page(outcomes, sections, reasons)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
