"""The long crash test: ``python -m tests.crash --kills 200 --store sqlite``.

Exit code 0 when nothing was found. What was found is printed, with the seed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.crash.trial import Plan, Trial
from tests.tools.crash_site import CrashSite, Data, ServedData, SqliteData
from tests.tools.databases import DatabaseServer, MysqlServer, PostgresServer

_SERVERS: dict[str, type[PostgresServer] | type[MysqlServer]] = {
    "postgres": PostgresServer,
    "mysql": MysqlServer,
}


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=["sqlite", *_SERVERS], default="sqlite")
    parser.add_argument("--heavy", action="store_true", help="flood the server")
    parser.add_argument("--encrypt", action="store_true", help="with payloads encrypted")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args(argv)
    plan = Plan(kills=options.kills, heavy=options.heavy, seed=options.seed)
    print(f"crash test on {options.store}, seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="stan-crash-") as folder:
        return asyncio.run(_run(options, plan, Path(folder)))


async def _run(options: argparse.Namespace, plan: Plan, folder: Path) -> int:
    key = "correct horse" if options.encrypt else ""
    if options.store == "sqlite":
        return await _try(SqliteData(folder), plan, key)
    kind = _SERVERS[options.store]
    if reason := kind.missing():
        print(reason, file=sys.stderr)
        return 1
    server: DatabaseServer = await asyncio.to_thread(kind)
    try:
        return await _try(ServedData(server, await server.create_database()), plan, key)
    finally:
        await asyncio.to_thread(server.remove)


async def _try(data: Data, plan: Plan, key: str) -> int:
    trial = Trial(CrashSite(data, encryption_key=key), plan, lambda line: print(line, flush=True))
    report = await trial.run()
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
