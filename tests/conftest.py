"""What every run of the tests ends with: which suite cost how much."""

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the seconds that each suite took, when there were several."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
    if len(seconds) < 2:
        return
    terminalreporter.section("seconds by suite")
    for suite, took_s in seconds.most_common():
        terminalreporter.write_line(f"{took_s:8.1f}  {suite}")
