"""The user's side of a database: messages that belong to a transaction of the user's own.

An outbox writes a message as a row, by that transaction: rolled back with it, visible with it.
The server on the same database makes messages of the rows; for a server elsewhere a relay
publishes them. An inbox marks a message as done by the transaction of what it caused. Nothing
here knows the server, its store or the client; SQLAlchemy is loaded when it is used. The package
is not called outbox because that is the name of the function.
"""

from stan.transactions.inbox import inbox_table
from stan.transactions.outbox import AsyncOutbox, Outbox, outbox
from stan.transactions.relay import OutboxRelay, Publisher
from stan.transactions.tables import outbox_parked_table, outbox_table

__all__ = [
    "AsyncOutbox",
    "Outbox",
    "OutboxRelay",
    "Publisher",
    "inbox_table",
    "outbox",
    "outbox_parked_table",
    "outbox_table",
]
