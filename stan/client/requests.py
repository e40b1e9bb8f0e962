"""Requests on their way: which answer belongs to which question.

Sans-I/O. Each request has a reply subject of its own; whoever asked is told once, with the
answer's payload or with why there is none. Nothing here knows what is asked.
"""

import enum
from collections.abc import Callable


class Unanswered(enum.Enum):
    """Why there is no answer."""

    NOBODY = "nobody listens"
    LATE = "no answer in time"
    CUT = "the NATS connection was lost"


Answer = bytes | Unanswered
OnAnswer = Callable[[Answer, int], None]
"""Called with the answer and the time in nanoseconds."""


class Requests:
    """What was asked and has no answer yet, by reply subject."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[int, OnAnswer]] = {}

    def add(self, reply: str, deadline_ns: int, on_answer: OnAnswer) -> None:
        """Expect an answer on this subject until then."""
        self._open[reply.encode()] = (deadline_ns, on_answer)

    def forget(self, reply: str) -> None:
        """Expect it no longer; who asked is not told."""
        self._open.pop(reply.encode(), None)

    def answer(self, reply: bytes, payload: bytes | None, now_ns: int) -> bool:
        """Take an answer; False when nothing of the kind was asked. None: nobody listens."""
        asked = self._open.pop(reply, None)
        if asked is None:
            return False
        asked[1](Unanswered.NOBODY if payload is None else payload, now_ns)
        return True

    @property
    def next_deadline_ns(self) -> int | None:
        """When the first of them is given up."""
        return min((deadline_ns for deadline_ns, _ in self._open.values()), default=None)

    def expire(self, now_ns: int) -> None:
        """Give up what waited too long."""
        late = [reply for reply, (deadline_ns, _) in self._open.items() if deadline_ns <= now_ns]
        for reply in late:
            self._open.pop(reply)[1](Unanswered.LATE, now_ns)

    def cut(self, now_ns: int) -> None:
        """No answer can come any more to what was asked so far."""
        asked, self._open = self._open, {}
        for _, on_answer in asked.values():
            on_answer(Unanswered.CUT, now_ns)
