"""Proofs of reading: what was delivered to a client, and that it has read it.

NATS holds back whoever writes to a connection that does not read, and we have one for all.
So a client is asked behind much that was delivered, as by a heartbeat; the answer proves that
all before was read. A client over the bound is held until then. Questions fail no heartbeats:
who is dropped, and when, is decided by `clients`. Invariant: a held client has been asked.
"""

from stan.engine.outbox import Outbox
from stan.engine.settings import Settings
from stan.engine.state import Client, Question
from stan.engine.timers import Timers
from stan.units import SECOND_NS

# A question is lost with a connection, so it is asked again this often.
ASK_AGAIN_NS = 2 * SECOND_NS
_NO_LIMIT = 1 << 62


class Proofs:
    def __init__(
        self, settings: Settings, subject_head: str, timers: Timers, outbox: Outbox
    ) -> None:
        self.limit_bytes: int = settings.client_pending_bytes or _NO_LIMIT
        # Nobody is asked before this much was delivered.
        self.ask_bytes: int = max(1, self.limit_bytes // 2)
        # Who has not answered, by the subject of the answer.
        self.asked: dict[bytes, Client] = {}
        self._subject_head = subject_head
        self._questions = 0
        self._timers = timers
        self._outbox = outbox

    def ask(self, client: Client, now_ns: int) -> None:
        """Much was delivered to this client: let it prove that it reads."""
        client.is_held = client.unproven_bytes >= self.limit_bytes
        if client.question is None:
            self._questions += 1
            subject = f"{self._subject_head}{self._questions}".encode()
            client.question = Question(client, subject, client.unproven_bytes)
            self.asked[subject] = client
            self._send(client.question, now_ns)

    def due(self, question: Question, now_ns: int) -> None:
        """There was no answer for a while."""
        if question.client.question is question:
            self._send(question, now_ns)

    def answered(self, subject: bytes, now_ns: int) -> Client:
        """A client answered what it was asked: all before the question is read. Returns it."""
        client = self.asked[subject]
        assert client.question is not None
        client.unproven_bytes -= client.question.covered_bytes
        client.is_held = False
        client.failed_heartbeats = 0
        self.forget(client)
        if client.unproven_bytes >= self.ask_bytes:
            self.ask(client, now_ns)
        return client

    def forget(self, client: Client) -> None:
        """The question is answered, or its client gone."""
        question, client.question = client.question, None
        if question is not None:
            del self.asked[question.subject]
            self._timers.clear(question)

    def _send(self, question: Question, now_ns: int) -> None:
        inbox = question.client.record.heartbeat_inbox.encode()
        self._outbox.send(inbox, b"", question.subject)
        self._timers.set(question, now_ns + ASK_AGAIN_NS)
