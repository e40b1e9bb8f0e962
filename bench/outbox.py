"""An outbox beside others on one PostgreSQL: rows a second from commit to delivery, and latency.

    python -m bench.outbox --peers /path/to/python

The other libraries are installed for a Python of their own, which is named by `--peers`:

    pip install faststream-outbox procrastinate asyncpg "psycopg[binary]"

Each runs by itself, on a database of its own, one after the other.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.outbox_load import LIBRARIES
from bench.postgres import BenchPostgres
from tests.tools.processes import NatsServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test

_LOAD = str(Path(__file__).with_name("outbox_load.py"))


def main() -> int:
    """Measure, and print a table. Returns the exit code."""
    options = arguments()
    postgres, nats = BenchPostgres(), NatsServer().start()
    try:
        results = []
        for _ in range(options.repeat):
            results.append(measure_stan(options, postgres, nats))
            for name in LIBRARIES if options.peers else ():
                if name != "stan":
                    results.append(measure_peer(options, postgres, name))
    finally:
        nats.stop()
        postgres.remove()
    print("library             drained/s    rows/s   written/s   median ms   worst ms   twice")
    for one in results:
        print(
            f"{one['library']:18} {one['drained_per_s']:10} {one['rows_per_s']:9} "
            f"{one['written_per_s']:11} "
            f"{one['median_ms']:11} {one['worst_ms']:10} {one['doubled']:7}"
        )
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="", help="the Python of the other libraries")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--singles", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def measure_stan(
    options: argparse.Namespace, postgres: BenchPostgres, nats: NatsServer
) -> dict[str, object]:
    database = postgres.database(original_tables=False)
    with tempfile.TemporaryDirectory() as folder:
        flags = ("-st", "SQL", "--sql_source", postgres.source(database))
        server = StreamingServer(implementation_under_test(), nats.url, "", Path(folder), flags)
        server.start()
        try:
            assert server.process is not None
            pid = str(server.process.process.pid)
            arguments = [_url(postgres, database), server.cluster, nats.url, pid]
            return run_load(options, sys.executable, "stan", arguments)
        finally:
            server.stop()
            postgres.drop(database)


def measure_peer(
    options: argparse.Namespace, postgres: BenchPostgres, name: str
) -> dict[str, object]:
    database = postgres.database(original_tables=False)
    try:
        return run_load(options, options.peers, name, [_url(postgres, database)])
    finally:
        postgres.drop(database)


def run_load(
    options: argparse.Namespace, python: str, name: str, arguments: list[str]
) -> dict[str, object]:
    command = [python, _LOAD, name, str(options.rows), str(options.singles), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _url(postgres: BenchPostgres, database: str) -> str:
    return f"postgresql+asyncpg://stan@127.0.0.1:{postgres.port}/{database}"


if __name__ == "__main__":
    sys.exit(main())
