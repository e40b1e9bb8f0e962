"""The original's SQL tables, made by hand and filled row by row, in any database.

Written after the protocol's description, not after the original's scripts. Invariant: what
a test does not say has the default that the original's schema gives it.
"""

from typing import Any

from stan.store.settings import StoreSettings
from stan.store.sql.database import connect_database
from stan.store.sql.dialect import Session
from stan.store.sql.sources import parse_source
from stan.wire.server_pb2 import ServerInfo, SubState
from stan.wire.stan_pb2 import MsgProto

CLUSTER = "old-cluster"
_BLOB = {"sqlite": "BLOB", "postgres": "BYTEA", "mysql": "LONGBLOB"}
_SEQUENCE = {"sqlite": "BIGINT", "postgres": "BIGINT", "mysql": "BIGINT UNSIGNED"}
_TABLES = (
    "ServerInfo (uniquerow INT DEFAULT 1 PRIMARY KEY, id VARCHAR(255), proto {blob}, version INT)",
    "Clients (id VARCHAR(255) PRIMARY KEY, hbinbox TEXT, proto {blob})",
    "Channels (id INT PRIMARY KEY, name VARCHAR(255), maxseq {sequence} DEFAULT 0, "
    "maxmsgs INT DEFAULT 0, maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0, "
    "deleted BOOL DEFAULT FALSE)",
    "Messages (id INT, seq {sequence}, timestamp BIGINT, size INT, data {blob}, "
    "PRIMARY KEY (id, seq))",
    "Subscriptions (id INT, subid {sequence}, lastsent {sequence} DEFAULT 0, proto {blob}, "
    "deleted BOOL DEFAULT FALSE, PRIMARY KEY (id, subid))",
    "SubsPending (subid {sequence}, {row} {sequence}, seq {sequence} DEFAULT 0, "
    "lastsent {sequence} DEFAULT 0, pending {blob}, acks {blob}, PRIMARY KEY (subid, {row}))",
)


class OriginalTables:
    """A database of the original's; the numbers of channels and rows count up."""

    def __init__(self, driver: str, source: str) -> None:
        parsed = parse_source(driver, source)
        self._database = connect_database(parsed, StoreSettings())
        self._family = parsed.family
        self._row = "`row`" if parsed.family == "mysql" else '"row"'
        self._rows = 0

    async def create(self, *, with_server: bool = True) -> None:
        """The tables, and the row that the original's first start writes."""
        words = {
            "blob": _BLOB[self._family],
            "sequence": _SEQUENCE[self._family],
            "row": self._row,
        }
        for table in _TABLES:
            await self.execute(f"CREATE TABLE {table.format(**words)}")
        if with_server:
            await self.server()

    async def server(
        self, cluster: str = CLUSTER, version: int = 1, recorded: str = CLUSTER
    ) -> None:
        proto = ServerInfo(ClusterID=recorded).SerializeToString()
        await self.insert("ServerInfo", id=cluster, proto=proto, version=version)

    async def channel(self, number: int, name: str, **columns: Any) -> None:
        await self.insert("Channels", id=number, name=name, **columns)

    async def message(
        self, number: int, name: str, sequence: int, data: bytes = b"", **fields: Any
    ) -> None:
        """A message; its time is 1000 times its sequence."""
        fields.setdefault("timestamp", sequence * 1000)
        message = MsgProto(sequence=sequence, subject=name, data=data, **fields)
        proto = message.SerializeToString()
        await self.insert(
            "Messages",
            id=number,
            seq=sequence,
            timestamp=message.timestamp,
            size=len(proto),
            data=proto,
        )

    async def messages(self, number: int, name: str, count: int) -> None:
        for sequence in range(1, count + 1):
            await self.message(number, name, sequence, b"m%d" % sequence)

    async def subscription(
        self,
        number: int,
        state: SubState,
        last_sent: int = 0,
        *,
        deleted: bool = False,
    ) -> None:
        await self.insert(
            "Subscriptions",
            id=number,
            subid=state.ID,
            lastsent=last_sent,
            proto=state.SerializeToString(),
            deleted=deleted,
        )

    async def pending(
        self,
        subid: int,
        *,
        seq: int = 0,
        last_sent: int = 0,
        pending: bytes | None = None,
        acks: bytes | None = None,
    ) -> None:
        """The subscription's next row of what was sent and acked."""
        self._rows += 1
        columns = {"seq": seq, "lastsent": last_sent, "pending": pending, "acks": acks}
        await self.insert("SubsPending", subid=subid, **{self._row: self._rows}, **columns)

    async def insert(self, table: str, **columns: Any) -> None:
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        await self.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values())
        )

    async def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        def step(session: Session) -> None:
            session.execute(sql, parameters)

        await self._database.write(step)

    async def close(self) -> None:
        await self._database.close()


def durable(number: int, client: str, name: str, **fields: Any) -> SubState:
    """The state of a durable as the original stores it."""
    return _state(number, clientID=client, durableName=name, isDurable=True, **fields)


def member(number: int, client: str, group: str, **fields: Any) -> SubState:
    """The state of a member of a durable group, or of the group without any ("")."""
    return _state(number, clientID=client, qGroup=group, isDurable=True, **fields)


def plain(number: int, client: str, **fields: Any) -> SubState:
    """The state of a subscription that ends with its client."""
    return _state(number, clientID=client, **fields)


def _state(number: int, **fields: Any) -> SubState:
    fields = {"maxInFlight": 5, "ackWaitInSecs": 7, "inbox": "_INBOX.in", **fields}
    return SubState(ID=number, ackInbox="_INBOX.ack", **fields)
