"""The command: `python -m bench`. Measures the tables and prints or writes them.

Everything that is asked for and cannot be had (the original server, PostgreSQL, a C
compiler) is left out, and the tables say so.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from nats.errors import Error as NatsError

from bench.clients import tabulate_clients
from bench.engines import EngineError, compiled, pure
from bench.flat import tabulate_flat_costs
from bench.hops import tabulate_hops
from bench.latency import tabulate_latency
from bench.loads import find_generator
from bench.mariadb import BenchMariadb
from bench.peers import Peer, original
from bench.postgres import BenchPostgres
from bench.pressure import tabulate_pressure
from bench.report import (
    Rows,
    Table,
    describe_machine,
    has_marks,
    render,
    render_heading,
    render_line,
    write_between_marks,
)
from bench.setting import STORES, Setting
from bench.spread import tabulate_spread
from bench.throughput import tabulate_sizes, tabulate_throughput
from bench.weight import make_group
from stan.errors import StanError

# In this order: latency starts from what throughput found.
TABLES: dict[str, Callable[[Setting], Table]] = {
    "throughput": tabulate_throughput,
    "spread": tabulate_spread,
    "sizes": tabulate_sizes,
    "hops": tabulate_hops,
    "latency": tabulate_latency,
    "flat": tabulate_flat_costs,
    "clients": tabulate_clients,
    "pressure": tabulate_pressure,
}
# Asked for by name only: it has its place in docs/durability.md.
DEFAULT = [name for name in TABLES if name != "pressure"]


def main() -> int:
    """Run the command. Returns the exit code."""
    options = arguments()
    with ExitStack() as stack:
        try:
            setting = _settle(options, stack)
        except EngineError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"load by {setting.generator_name}", *setting.remarks, sep="\n", file=sys.stderr)
        failures = 0
        for name in options.tables:
            table = TABLES[name](setting)
            rows, failed = measure_table(table)
            failures += failed
            # As soon as it is there: all of them take more than an hour.
            if options.write:
                text = render(table, rows, describe_machine(setting))
                write_between_marks(Path(options.write), name, text)
    return 1 if failures else 0


def measure_table(table: Table) -> tuple[Rows, int]:
    """Measure all rows, showing each when it is there; the rows, and how many jobs failed.

    A job that fails has a row that says so, and the others go on.
    """
    print(f"\n{render_heading(table.columns)}", flush=True)
    rows: Rows = []
    failed = 0
    for job in table.jobs:
        try:
            found = job.measure()
        except (RuntimeError, OSError, subprocess.TimeoutExpired, StanError, NatsError) as error:
            print(f"{table.name}, {job.name}: {error}", file=sys.stderr)
            found = [[f"{job.name}: failed", *[""] * (len(table.columns) - 1)]]
            failed += 1
        rows += found
        print("\n".join(render_line(row) for row in found), flush=True)
    return rows, failed


def _settle(options: argparse.Namespace, stack: ExitStack) -> Setting:
    """Find out what is there, and start what is needed. Raises EngineError."""
    remarks = []
    generator = find_generator(options.generator)
    other = None if options.alone else original(options.peer)
    if other is None:
        remarks.append("The original server was left out: it was not wanted, or not on PATH.")
    stores = [store for store in STORES if store in options.stores]
    databases: dict[str, BenchPostgres | BenchMariadb] = {}
    for name, kind in (("postgres", BenchPostgres), ("mariadb", BenchMariadb)):
        if name in stores and (missing := kind.missing()):
            remarks.append(f"{name} was left out: {missing}.")
            stores.remove(name)
        elif name in stores:
            databases[name] = kind()
            stack.callback(databases[name].remove)
    ours = _engines(options, stack, remarks)
    group = None
    if "pressure" in options.tables:
        group = stack.enter_context(make_group())
        if group is None:
            remarks.append("No weight was given: there are no control groups that could be used.")
    return Setting(
        ours=ours,
        other=other,
        stores=tuple(stores),
        databases=databases,
        generator=generator,
        repeat=options.repeat,
        seconds=options.seconds,
        latency_seconds=options.latency_seconds,
        scale=options.scale,
        rate=options.rate,
        only=tuple(options.only),
        remarks=tuple(remarks),
        group=group,
    )


def _engines(options: argparse.Namespace, stack: ExitStack, remarks: list[str]) -> tuple[Peer, ...]:
    """Our server with each engine that is wanted; adds to the remarks what is missing."""
    copies = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stan-bench-engines-")))
    peers = [] if options.engine == "compiled" else [pure(copies / "pure")]
    if options.engine != "pure":
        folder = Path(options.compiled).resolve() if options.compiled else copies / "compiled"
        try:
            peers.append(compiled(folder))
        except EngineError as error:
            if not peers:
                raise
            remarks.append(f"The compiled engine was left out: {error}.")
    return tuple(peers)


def arguments() -> argparse.Namespace:
    """The command line. Exits with code 2 when it cannot be understood."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--tables", type=_names, default=DEFAULT, help=f"of {','.join(TABLES)}")
    add("--stores", type=_names, default=[*STORES], help=f"of {','.join(STORES)}")
    add("--engine", choices=("pure", "compiled", "both"), default="both", help="of our server")
    add("--compiled", default="", help="a folder to keep the compiled server in, or to find it")
    add("--repeat", type=int, default=3, help="runs of each, medians are taken")
    add("--seconds", type=float, default=3.0, help="how long a load lasts")
    add("--latency-seconds", type=float, default=10.0, help="how long latency is measured")
    add("--rate", type=int, default=0, help="messages a second instead of half load")
    add("--scale", type=float, default=1.0, help="of what exists beside the flat-cost loads")
    add("--only", type=_names, default=[], help="only rows with one of these in table, store, work")
    add("--peer", default="", help="path of nats-streaming-server")
    add("--generator", default="", help="path of a stan-bench command")
    add("--alone", action="store_true", help="without the original")
    add("--write", default="", help="a document to write the tables into")
    options = parser.parse_args()
    for word in ("tables", "stores"):
        known = TABLES if word == "tables" else STORES
        unknown = [name for name in getattr(options, word) if name not in known]
        if unknown:
            parser.error(f"--{word} knows {', '.join(known)}, not {', '.join(unknown)}")
    options.tables.sort(key=[*TABLES].index)
    if options.write and options.only:
        parser.error("--write wants whole tables: not with --only")
    for name in options.tables if options.write else ():
        if not has_marks(Path(options.write), name):
            parser.error(f"{options.write} has no marks for the table {name}")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    raise SystemExit(main())
