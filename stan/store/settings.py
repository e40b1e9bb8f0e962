"""What an operator may choose about a store, in one value that all of its parts read.

Nothing here connects. Invariant: the value makes sense by itself; whether a source or a
durability does is for the database's dialect to say.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stan.errors import ConfigError

if TYPE_CHECKING:
    from stan.store.encryption import Encryption


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Settings of a SQL store; the memory store has none. Raises ConfigError.

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
    - `outbox`: whether the store listens for what is written to the outbox table.
    """

    sql_source: str = ""
    sql_driver: str = ""
    durability: str = "full"
    wait_for_lease: bool = False
    migrate: bool = True
    beside_original: bool = False
    lease_s: float = 5.0
    timeout_s: float = 10.0
    encryption: "Encryption | None" = None
    deliver_encrypted: bool = False
    outbox: bool = False

    def __post_init__(self) -> None:
        if self.lease_s <= 0 or self.timeout_s <= 0:
            raise ConfigError("lease and timeout of the SQL store must be positive")

    @property
    def lease_ms(self) -> int:
        """The length of the lease as the database keeps it."""
        return int(self.lease_s * 1000)
