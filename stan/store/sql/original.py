"""The original server's tables, which may stand in the same database as ours.

Only finding them lives here; what is in them is the import's business. Unquoted names were
used to create them, so PostgreSQL has them in lower case and MySQL as written.
Invariant: nothing is changed, and a database with tables of other people's that happen to
bear one of these names is not taken for the original's.
"""

from sqlalchemy import Connection, inspect

from stan.errors import SchemaError

NAMES = ("ServerInfo", "Clients", "Channels", "Messages", "Subscriptions", "SubsPending")

_ADVICE = (
    "the database holds channels of nats-streaming-server: run `stan-server import` to bring "
    "them over, or `stan-server migrate` to begin with an empty store beside the old tables"
)


def find_tables(connection: Connection) -> dict[str, str]:
    """Those of the original's tables that are there: our spelling of the name, and the
    database's, quoted for a statement."""
    quote = connection.dialect.identifier_preparer.quote
    present = inspect(connection).get_table_names()
    folded = {name.lower(): name for name in present}
    found: dict[str, str] = {}
    for name in NAMES:
        spelled = name if name in present else folded.get(name.lower())
        if spelled is not None:
            found[name] = quote(spelled)
    return found


def refuse_channels(connection: Connection) -> None:
    """Raise SchemaError, saying what to do, when the original's tables are there with
    channels in them."""
    tables = find_tables(connection)
    if len(tables) < len(NAMES):
        return
    query = f"SELECT 1 FROM {tables['Channels']} LIMIT 1"
    if connection.exec_driver_sql(query).fetchone() is not None:
        raise SchemaError(_ADVICE)
