"""Running a step on one connection, and what every new connection is told.

A step is a blocking function over a Session. Invariant: a connection on which anything is in
doubt is dropped, never used again.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event

from stan.store.settings import StoreSettings
from stan.store.sql.dialect import Dialect, Session
from stan.store.sql.failures import explain

T = TypeVar("T")
Step = Callable[[Session], T]


def run_step(step: Step[T], connection: Connection, dialect: Dialect) -> T:
    """Run the step; on an error leave no transaction open, or the connection dropped."""
    session = Session(connection, dialect)
    try:
        return step(session)
    except Exception as error:
        failure, dropped = explain(error, session.phase, dialect)
        if not dropped:
            try:
                session.rollback()
            except Exception:
                dropped = True
        if dropped:
            _abandon(connection, dialect)
        raise failure from error
    except BaseException:  # cancelled in the middle: what the connection does now is unknown
        _abandon(connection, dialect)
        raise


def _abandon(connection: Connection, dialect: Dialect) -> None:
    """Drop a connection for good. A polite farewell could wait for a peer that is silent,
    so the driver lets go first."""
    with suppress(Exception):
        dialect.abort(connection.connection.driver_connection)
    with suppress(Exception):
        connection.invalidate()


def prepare(engine: Engine, dialect: Dialect, settings: StoreSettings) -> None:
    """Tell every new connection what it must know."""

    def on_connect(dbapi: Any, record: object) -> None:
        cursor = dbapi.cursor()
        try:
            for sql in dialect.setup_sql(settings.timeout_s, settings.lease_s):
                cursor.execute(sql)
        finally:
            cursor.close()

    event.listen(engine, "connect", on_connect)
