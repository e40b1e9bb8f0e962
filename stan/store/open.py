"""The one place that knows which stores exist.

`open_store` turns the operator's words into a store that is not open yet. Nothing here
connects to anything; settings that make no sense are refused with ConfigError.
"""

from stan.errors import ConfigError
from stan.store.contract import Store
from stan.store.memory import MemoryStore
from stan.store.settings import StoreSettings


def open_store(kind: str, settings: StoreSettings | None = None) -> Store:
    """An unopened store; await its `open` before anything else.

    `kind` is MEMORY or SQL, in any case; the settings are for SQL. Raises ConfigError.
    """
    name = kind.upper()
    if name == "MEMORY":
        return MemoryStore()
    if name != "SQL":
        raise ConfigError(f"unknown store type: {kind}")
    # Not at the top: a server that keeps its messages in memory loads no SQLAlchemy.
    from stan.store.sql.store import SqlStore

    return SqlStore(settings or StoreSettings())
