"""What the engine wants done outside: operations to send, history to read, lines to log,
outcomes to tell.

Everything here is data that the pump takes after each call. An operation is a piece of
the NATS client protocol; all of them are joined into one write.
"""

from stan.engine.records import Load, Outcome
from stan.wire.frames import pub


class Outbox:
    def __init__(self) -> None:
        self.operations: list[bytes] = []
        # How much of them are messages for subscriptions, roughly; bounded by `delivery`.
        self.delivered_bytes: int = 0
        self.loads: list[Load] = []
        self.notices: list[tuple[str, str]] = []
        self.outcomes: list[Outcome] = []

    def send(self, subject: bytes, payload: bytes, reply: bytes = b"") -> None:
        """Queue one message. Without a subject there is nobody to tell."""
        if subject:
            self.operations.append(pub(subject, payload, reply))

    def log(self, level: str, text: str) -> None:
        """Queue one line; the levels are info, warning, error, debug and trace."""
        self.notices.append((level, text))
