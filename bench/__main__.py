"""The command: `python -m bench`. Runs the table and prints or writes it."""

import argparse
import os
import statistics
import sys
from pathlib import Path

from bench.loads import Load, Measurement, loads, measure
from bench.peers import OURS, Peer, Running, original
from bench.postgres import Postgres, find_binaries
from bench.report import Row, describe_machine, render, write_between_marks

KINDS = ("memory", "file", "postgres")


def main() -> int:
    options = arguments()
    peers = [OURS]
    other = original(options.peer)
    if other is not None and not options.alone:
        peers.append(other)
    elif not options.alone:
        print("nats-streaming-server is not on PATH: measuring ours alone", file=sys.stderr)
    generator = find_generator(options.generator)
    print(f"load generator: {' '.join(generator)}", file=sys.stderr)
    kinds = [kind for kind in KINDS if kind in options.stores.split(",")]
    postgres: Postgres | None = None
    if "postgres" in kinds:
        binaries = find_binaries()
        if binaries is None:
            print("PostgreSQL is not installed: left out", file=sys.stderr)
            kinds.remove("postgres")
        else:
            postgres = Postgres(binaries)
    rows: list[Row] = []
    try:
        for kind in kinds:
            for load in loads(options.scale, kind == "postgres"):
                if options.only and options.only not in load.name:
                    continue
                rows.append(run_row(kind, load, peers, generator, options.repeat, postgres))
                print(render(rows[-1:], heading=len(rows) == 1), flush=True)
    finally:
        if postgres is not None:
            postgres.stop()
    if options.write:
        text = f"{describe_machine(generator[0], options.repeat)}\n\n{render(rows)}\n"
        write_between_marks(Path(options.write), text)
    return 0


def find_generator(path: str) -> list[str]:
    """The stan-bench to use: the one named, else Go's on PATH, else ours.

    Ours is a script of the same name; Go's is a binary, and costs the machine less.
    """
    if path:
        return [path]
    for folder in os.get_exec_path():
        candidate = Path(folder) / "stan-bench"
        if os.access(candidate, os.X_OK) and candidate.read_bytes()[:2] != b"#!":
            return [str(candidate)]
    return [sys.executable, "-m", "stan.cli.bench"]


def run_row(
    kind: str,
    load: Load,
    peers: list[Peer],
    generator: list[str],
    repeat: int,
    postgres: Postgres | None,
) -> Row:
    """Measure one load on every peer, in turn, and take medians."""
    taken: dict[str, list[Measurement]] = {peer.name: [] for peer in peers}
    for _ in range(repeat):
        for peer in peers:
            with Running(peer, kind, postgres) as running:
                taken[peer.name].append(measure(load, running, generator))
    medians = {
        name: Measurement(
            statistics.median(each.published_per_s for each in all_of_it),
            statistics.median(each.received_per_s for each in all_of_it),
            statistics.median(each.cpu_us_per_message for each in all_of_it),
            int(statistics.median(each.peak_bytes for each in all_of_it)),
        )
        for name, all_of_it in taken.items()
    }
    ratios = [
        ours.rate / theirs.rate
        for ours, theirs in zip(taken[OURS.name], taken[peers[-1].name], strict=True)
        if len(peers) > 1
    ]
    return Row(kind, load, medians, statistics.median(ratios) if ratios else None)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--stores", default="memory,file,postgres", help="kinds of store")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, medians are taken")
    parser.add_argument("--scale", type=float, default=1.0, help="how many messages, relatively")
    parser.add_argument("--only", default="", help="only loads whose name contains this")
    parser.add_argument("--peer", default="", help="path of nats-streaming-server")
    parser.add_argument("--generator", default="", help="path of a stan-bench command")
    parser.add_argument("--alone", action="store_true", help="measure ours only")
    parser.add_argument("--write", default="", help="a document to write the table into")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
