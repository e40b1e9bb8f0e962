"""The one place that knows which stores exist.

`open_store` turns the operator's words into a store that is not open yet. Nothing here
connects to anything; settings that make no sense are refused with ConfigError.
"""

from typing import TYPE_CHECKING

from stan.errors import ConfigError
from stan.store.contract import Store
from stan.store.memory import MemoryStore

if TYPE_CHECKING:
    from stan.store.encryption import Encryption


def open_store(
    kind: str,
    *,
    sql_driver: str = "",
    sql_source: str = "",
    durability: str = "full",
    wait_for_lease: bool = False,
    migrate: bool = True,
    beside_original: bool = False,
    lease_s: float = 5.0,
    timeout_s: float = 10.0,
    encryption: "Encryption | None" = None,
    deliver_encrypted: bool = False,
) -> Store:
    """An unopened store; await its `open` before anything else.

    `kind` is MEMORY or SQL, in any case. For SQL:

    - `sql_source`: a SQLAlchemy URL, a path (SQLite), `postgres://u:p@h:5432/db` or
      `u:p@tcp(h:3306)/db`.
    - `sql_driver`: sqlite, postgres or mysql; may be empty when the source tells.
    - `durability`: "full" (a power cut loses nothing that was committed), "normal" (a power
      cut may lose the last moments, a crash of the process nothing), "off" (a power cut may
      damage a SQLite file). MySQL knows only "full": its own settings decide.
    - `wait_for_lease`: when another server owns the store, wait in `open` until it is gone
      instead of raising LeaseLostError.
    - `migrate`: whether `open` may create or upgrade the schema.
    - `beside_original`: whether `open` may create the schema in a database that holds channels
      of the original server; otherwise they would seem to be lost.
    - `lease_s`: how long a frozen or killed server keeps others out.
    - `timeout_s`: how long one exchange with a database server may take.
    - `encryption`: encrypts payloads, and decrypts those that are encrypted. The engine must
      count OVERHEAD_BYTES more for each of them (Settings.payload_overhead_bytes).
    - `deliver_encrypted`: without `encryption`, whether `recover` accepts a store with
      encrypted messages, which are then read as they are.

    Raises ConfigError.
    """
    name = kind.upper()
    if name == "MEMORY":
        return MemoryStore()
    if name != "SQL":
        raise ConfigError(f"unknown store type: {kind}")
    from stan.store.sql.sources import parse_source
    from stan.store.sql.store import SqlStore

    return SqlStore(
        parse_source(sql_driver, sql_source),
        durability=durability,
        wait_for_lease=wait_for_lease,
        migrate=migrate,
        beside_original=beside_original,
        lease_s=lease_s,
        timeout_s=timeout_s,
        encryption=encryption,
        deliver_encrypted=deliver_encrypted,
    )
