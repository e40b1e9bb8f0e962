"""From whatever a driver raises to the five store errors, each with one clear line.

Invariant: StoreUnavailableError and StoreRefusedError are only given when the transaction
is certainly not applied; a connection lost while COMMIT was under way is unknown.
"""

import logging

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stan.errors import (
    StoreError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.store.sql.dialect import Dialect, Fault, Phase, first_line

_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
_log = logging.getLogger("stan.store")


def explain(error: Exception, phase: Phase, dialect: Dialect) -> tuple[StoreError, bool]:
    """The error to raise, and whether the connection must be dropped."""
    if isinstance(error, StoreError):
        return error, phase is Phase.COMMITTING
    fault, line = _judge(error, dialect)
    if fault is Fault.LOST:
        if phase is Phase.COMMITTING:
            return StoreOutcomeUnknownError(f"no answer to COMMIT: {line}"), True
        return StoreUnavailableError(line), True
    if fault is Fault.UNAVAILABLE:
        return StoreUnavailableError(line), False
    return StoreRefusedError(line), False


def _judge(error: Exception, dialect: Dialect) -> tuple[Fault, str]:
    if isinstance(error, PoolTimeoutError):
        return Fault.UNAVAILABLE, "every database connection is busy"
    if isinstance(error, TimeoutError):
        return Fault.LOST, "the database did not answer in time"
    if isinstance(error, DBAPIError):
        original = error.orig if isinstance(error.orig, Exception) else error
        fault, line = dialect.judge(original)
        return (Fault.LOST if error.connection_invalidated else fault), line
    if isinstance(error, OSError):
        return Fault.LOST, f"the database cannot be reached: {first_line(error)}"
    if isinstance(error, SQLAlchemyError):
        return Fault.REFUSED, first_line(error)
    if isinstance(error, _BUGS):
        _log.error("a defect in the store", exc_info=error)
        return Fault.REFUSED, f"a defect in the store: {first_line(error)}"
    return dialect.judge(error)
