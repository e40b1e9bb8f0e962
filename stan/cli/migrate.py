"""stan-server migrate: create or upgrade the schema of a database, or say what would be done.

Exit code 0 when the schema is (now) the one that this version speaks, 1 when it is not or
on any error, 2 for a command line that cannot be understood. Stop the server first: the
command takes its lease for the time of the upgrade, and refuses while a server is alive.
"""

import asyncio
import os
import sys

from stan.errors import StanError
from stan.flags import Flag, FlagError, HelpWanted, Parsed, parse_flags, read_bool, usage
from stan.store.settings import StoreSettings
from stan.store.sql.migrating import SchemaState, check_schema, upgrade_schema, upgrade_sql

FLAGS = [
    Flag(("sql_source", "source"), "path or URL of the database, else STAN_SQL_SOURCE", ""),
    Flag(("sql_driver", "driver"), "sqlite, postgres or mysql, when the source does not tell", ""),
    Flag(("sql",), "print the SQL of the whole schema, connect to nothing", False, read_bool),
    Flag(("check",), "only tell whether the schema is current", False, read_bool),
    Flag(("dry-run", "dry_run"), "only tell what would be done", False, read_bool),
]
USAGE = usage("stan-server migrate [options]", FLAGS)


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        parsed = parse_flags(FLAGS, argv)
        if parsed.arguments:
            raise FlagError(f"unexpected argument: {parsed.arguments[0]}")
    except HelpWanted:
        print(USAGE)
        return 0
    except FlagError as error:
        print(f"stan-server migrate: {error}\n{USAGE}", file=sys.stderr)
        return 2
    settings = StoreSettings(
        sql_driver=parsed["sql_driver"],
        sql_source=parsed["sql_source"] or os.environ.get("STAN_SQL_SOURCE", ""),
    )
    try:
        if parsed["sql"]:
            print(upgrade_sql(settings).rstrip())
            return 0
        return asyncio.run(_migrate(parsed, settings))
    except StanError as error:
        print(f"stan-server migrate: {error}", file=sys.stderr)
        return 1


async def _migrate(parsed: Parsed, settings: StoreSettings) -> int:
    state = await check_schema(settings)
    if state.current:
        print(f"{state.location}: the schema is current ({state.wanted})")
        return 0
    if parsed["check"] or parsed["dry-run"]:
        print(f"{state.location}: {_describe(state)}")
        return 0 if parsed["dry-run"] else 1
    await upgrade_schema(settings)
    print(f"{state.location}: upgraded from {state.revision or 'no schema'} to {state.wanted}")
    return 0


def _describe(state: SchemaState) -> str:
    if not state.revision:
        return f"there is no schema; migrating would create revision {state.wanted}"
    return f"the schema is at {state.revision}; migrating would bring it to {state.wanted}"
