"""A throw-away PostgreSQL as safe as people run it, and the original server's tables.

It is the one of the tests but for its settings: a commit waits for the disk.
"""

import asyncio

from tests.tools.databases import PostgresServer

# The original creates no tables; their columns are a matter of record.
_TABLES = """
CREATE TABLE IF NOT EXISTS ServerInfo (uniquerow INT DEFAULT 1, id VARCHAR(1024), proto BYTEA,
    version INTEGER, PRIMARY KEY (uniquerow));
CREATE TABLE IF NOT EXISTS Clients (id VARCHAR(1024), hbinbox TEXT, proto BYTEA, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS Channels (id INTEGER, name VARCHAR(1024) NOT NULL,
    maxseq BIGINT DEFAULT 0, maxmsgs INTEGER DEFAULT 0, maxbytes BIGINT DEFAULT 0,
    maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE, PRIMARY KEY (id));
CREATE INDEX Idx_ChannelsName ON Channels (name);
CREATE TABLE IF NOT EXISTS Messages (id INTEGER, seq BIGINT, timestamp BIGINT, size INTEGER,
    data BYTEA, CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq));
CREATE INDEX Idx_MsgsTimestamp ON Messages (timestamp);
CREATE TABLE IF NOT EXISTS Subscriptions (id INTEGER, subid BIGINT, lastsent BIGINT DEFAULT 0,
    proto BYTEA, deleted BOOL DEFAULT FALSE, CONSTRAINT PK_SubKey PRIMARY KEY (id, subid));
CREATE TABLE IF NOT EXISTS SubsPending (subid BIGINT, row BIGINT, seq BIGINT DEFAULT 0,
    lastsent BIGINT DEFAULT 0, pending BYTEA, acks BYTEA,
    CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, row));
CREATE INDEX Idx_SubsPendingSeq ON SubsPending (seq);
CREATE TABLE IF NOT EXISTS StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0);
"""


class BenchPostgres(PostgresServer):
    """A running PostgreSQL; `database` gives the name of a fresh, empty database."""

    settings = "-c shared_buffers=256MB -c max_wal_size=4GB"

    def database(self, original_tables: bool) -> str:
        """Create a database, with the original's tables if wanted; its name."""
        return asyncio.run(self._create(original_tables))

    def drop(self, name: str) -> None:
        """Drop a database that `database` created, whoever is still connected to it."""
        asyncio.run(self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    def flags(self, name: str, original: bool) -> list[str]:
        """How a server is told of this database."""
        where = f"127.0.0.1:{self.port}/{name}"
        if original:
            source = f"postgres://stan@{where}?sslmode=disable"
            return ["--sql_driver", "postgres", "--sql_source", source]
        return ["--sql_source", f"postgresql+asyncpg://stan@{where}"]

    async def _create(self, original_tables: bool) -> str:
        name = await self.create_database()
        for statement in _TABLES.split(";")[:-1] if original_tables else ():
            await self.execute(statement, name)
        return name
