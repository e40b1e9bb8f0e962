"""All transcripts, run at once: a desk each, and one a chapter for those that need no server of
their own. What appears is kept for the tests, or written down:

    python -m tests.tutorial.running [NAME ...]     record what the programs print
"""

import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.tutorial.playing import Desk, play
from tests.tutorial.transcript import Command, list_transcripts, mask, name, parse, write

WORKERS = max(4, 2 * (os.cpu_count() or 1))
Results = dict[Path, Future[list[Command]]]


def group(paths: Iterable[Path]) -> list[list[Path]]:
    """Which transcripts share a desk: those of a chapter that start no server by themselves."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        own = any(command.is_server for command in parse(path.read_text()))
        groups.setdefault(name(path) if own else path.parent.name, []).append(path)
    return sorted(groups.values(), key=len, reverse=True)


def run_group(paths: list[Path], results: Results) -> None:
    """Run the transcripts of one desk, in their order."""
    with (
        tempfile.TemporaryDirectory(prefix="tutorial-") as folder,
        Desk(paths[0].parent, Path(folder)) as desk,
    ):
        for path in paths:
            commands = parse(path.read_text())
            try:
                if path == paths[0] and not any(command.is_server for command in commands):
                    desk.play(Command("stan-server"))
                results[path].set_result(play(commands, desk))
            except Exception as error:
                results[path].set_exception(error)


def run(paths: list[Path]) -> tuple[ThreadPoolExecutor, Results]:
    """Begin to run them; the results come."""
    results: Results = {path: Future() for path in paths}
    pool = ThreadPoolExecutor(WORKERS, "tutorial")
    for members in group(paths):
        pool.submit(run_group, members, results)
    return pool, results


def _merge(known: Command, seen: Command) -> Command:
    """What was seen, in the words that are known where they say the same."""
    lines = known.lines
    if [mask(line) for line in lines] == [mask(line) for line in seen.lines]:
        return known
    return seen if known.is_simple or known.is_server or seen.body else known


def main(names: list[str]) -> int:
    """Record the transcripts of these names, or all."""
    paths = [path for path in list_transcripts() if not names or name(path) in names]
    pool, results = run(paths)
    failed = 0
    for path, result in results.items():
        known = parse(path.read_text())
        try:
            seen = result.result()
        except Exception as error:
            failed += 1
            print(f"{name(path)}: {error}")
            continue
        merged = [_merge(*pair) for pair in zip(known, seen, strict=True)]
        if merged != known:
            path.write_text(write(merged))
            print(f"{name(path)}: recorded")
    pool.shutdown()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
