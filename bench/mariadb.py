"""A throw-away MariaDB as safe as people run it, and the original server's tables.

It is the one of the tests: a commit waits for the disk.
"""

import asyncio

from tests.tools.databases import MysqlServer

# The original creates no tables; their columns are a matter of record.
_TABLES = """
CREATE TABLE ServerInfo (uniquerow INT DEFAULT 1, id VARCHAR(1024), proto BLOB, version INTEGER,
    PRIMARY KEY (uniquerow));
CREATE TABLE Clients (id VARCHAR(1024), hbinbox TEXT, proto BLOB, PRIMARY KEY (id(256)));
CREATE TABLE Channels (id INTEGER, name VARCHAR(1024) NOT NULL, maxseq BIGINT UNSIGNED DEFAULT 0,
    maxmsgs INTEGER DEFAULT 0, maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0,
    deleted BOOL DEFAULT FALSE, PRIMARY KEY (id), INDEX Idx_ChannelsName (name(256)));
CREATE TABLE Messages (id INTEGER, seq BIGINT UNSIGNED, timestamp BIGINT, size INTEGER, data BLOB,
    CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq), INDEX Idx_MsgsTimestamp (timestamp));
CREATE TABLE Subscriptions (id INTEGER, subid BIGINT UNSIGNED, lastsent BIGINT UNSIGNED DEFAULT 0,
    proto BLOB, deleted BOOL DEFAULT FALSE, CONSTRAINT PK_SubKey PRIMARY KEY (id, subid));
CREATE TABLE SubsPending (subid BIGINT UNSIGNED, `row` BIGINT UNSIGNED,
    seq BIGINT UNSIGNED DEFAULT 0, lastsent BIGINT UNSIGNED DEFAULT 0, pending BLOB, acks BLOB,
    CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, `row`), INDEX Idx_SubsPendingSeq (seq));
CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT UNSIGNED DEFAULT 0);
"""


class BenchMariadb(MysqlServer):
    """A running MariaDB; `database` gives the name of a fresh, empty database."""

    def database(self, original_tables: bool) -> str:
        """Create a database, with the original's tables if wanted; its name."""
        return asyncio.run(self._create(original_tables))

    def drop(self, name: str) -> None:
        """Drop a database that `database` created."""
        asyncio.run(self.execute(f"DROP DATABASE IF EXISTS {name}"))

    def flags(self, name: str, original: bool) -> list[str]:
        """How a server is told of this database."""
        source = f"{self.source(name)}?readTimeout=5s&writeTimeout=5s"
        if original:
            return ["--sql_driver", "mysql", "--sql_source", source]
        return ["--sql_driver", "mysql", "--sql_source", self.source(name)]

    async def _create(self, original_tables: bool) -> str:
        name = await self.create_database()
        for statement in _TABLES.split(";")[:-1] if original_tables else ():
            await self.execute(statement, name)
        return name
