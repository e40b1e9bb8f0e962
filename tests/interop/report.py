"""Run the interop suite and write docs/interop.md: a row a scenario, a column a client.

`python tests/interop/report.py` runs it all; more arguments go to pytest. It ends with pytest's
status. When the original server is on PATH, or named by STAN_ORIGINAL_SERVER, this project's
client runs against that one too.
"""

import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "interop.md"
sys.path.insert(0, str(ROOT))

from tests.interop.drivers import DRIVERS  # noqa: E402
from tests.interop.scenarios import SCENARIOS, TITLES  # noqa: E402
from tests.tools.streaming_server import find_original  # noqa: E402

HEADING = """\
# Interop

Clients of four languages, the published ones unchanged, run the same scenarios and print what
they observe: acks, sequences, flags, errors. Every one must observe exactly what it observed on
the original server, v0.25.6. `make interop` builds them, runs them against this project's server
with its SQLite store, and writes this page. The last column is this project's client against the
original server itself.

The Java client does not show its users the redelivery count; it observes the flag alone.
"""
MARKS = {"passed": "same", "failed": "**differs**", "skipped": "skipped"}
NOT_RUN = "not run"


class Outcomes:
    """A pytest plugin: how each client and scenario ended."""

    def __init__(self) -> None:
        self.ended: dict[tuple[str, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of the test itself, or of a setup that did not let it run."""
        case = re.search(r"\[(\w+)-(\w+)\]$", report.nodeid)
        if case and (report.when == "call" or report.outcome != "passed"):
            self.ended[case[1], case[2]] = report.outcome

    def mark(self, client: str, scenario: str) -> str:
        """What the page says of a client and a scenario."""
        return MARKS.get(self.ended.get((client, scenario), ""), NOT_RUN)


def run(arguments: list[str], server: str) -> tuple[int, Outcomes]:
    """Run the suite against ours (an empty name) or another server."""
    outcomes = Outcomes()
    os.environ.pop("STAN_TEST_SERVER", None)
    if server:
        os.environ["STAN_TEST_SERVER"] = server
    suite = str(HERE / "test_interop.py")
    options = ["--rootdir", str(ROOT), "-q", suite, *arguments]
    return int(pytest.main(options, plugins=[outcomes])), outcomes


def write_page(ours: Outcomes, original: Outcomes) -> None:
    """Write the page from the outcomes."""
    clients = [f"{driver.name.capitalize()}: {driver.client}" for driver in DRIVERS.values()]
    columns = ["Scenario", *clients, "Python on the original"]
    lines = [HEADING, f"| {' | '.join(columns)} |", f"|{'-|' * len(columns)}"]
    for scenario in SCENARIOS:
        marks = [ours.mark(client, scenario) for client in DRIVERS]
        marks.append(original.mark("python", scenario))
        lines.append(f"| {TITLES[scenario]} | {' | '.join(marks)} |")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(lines) + "\n")


def main(arguments: list[str]) -> int:
    """Run everything, write the page, return the worse status."""
    status, ours = run(arguments, "")
    binary = find_original()
    original_status, original = 0, Outcomes()
    if binary:
        original_status, original = run([*arguments, "-k", "python"], binary)
    write_page(ours, original)
    return status or original_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
