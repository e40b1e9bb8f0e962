"""Every program of the tutorial runs and prints what its page shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutorial.running import Results, run
from tests.tutorial.transcript import Command, list_transcripts, mask, name, parse, write


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """Of those that are wanted in this run."""
    wanted = {
        item.callspec.params["path"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    }
    pool, results = run([path for path in list_transcripts() if path in wanted])
    yield results
    pool.shutdown()


def masked(commands: list[Command]) -> list[str]:
    return [mask(line) for line in write(commands).splitlines()]


@pytest.mark.parametrize("path", list_transcripts(), ids=name)
def test_a_program_prints_what_its_page_shows(path: Path, results: Results) -> None:
    assert masked(results[path].result()) == masked(parse(path.read_text()))
