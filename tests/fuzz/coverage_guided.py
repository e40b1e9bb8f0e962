"""The same target under atheris, which lets coverage choose the inputs. Optional.

    python -m pip install atheris
    python -m tests.fuzz.coverage_guided -atheris_runs=1000000 [CORPUS_DIRECTORY]

The first byte of an input chooses the subject, a second one whether somebody waits for an
answer; the rest is the payload. The engine starts afresh now and then, so that a crash
can be reproduced from the last inputs.
"""

import sys

import atheris

with atheris.instrument_imports(include=["stan.engine", "stan.wire"]):
    from stan.engine import invariants
    from tests.fuzz.inputs import SUBJECTS
    from tests.fuzz.target import Target

FRESH_EVERY = 2_000


class Loop:
    def __init__(self) -> None:
        self.inputs = 0
        self.target = Target()
        self.subjects = [*SUBJECTS.values(), b"ack", b"chunk"]

    def one(self, data: bytes) -> None:
        """Feed one input."""
        if self.inputs % FRESH_EVERY == 0:
            self.target = Target()
        self.inputs += 1
        if len(data) < 2:
            return
        subject, payload = self.subjects[data[0] % len(self.subjects)], data[2:]
        if subject == b"chunk":
            self.target.feed_chunk(payload)
            return
        inboxes = self.target.furnish() if self.inputs % 50 == 1 else []
        if subject == b"ack":
            inboxes = inboxes or list(self.target.engine.subscriptions.by_ack_inbox)
            subject = inboxes[data[1] % len(inboxes)] if inboxes else b"_INBOX.none"
        self.target.feed((subject, b"reply" if data[1] & 1 else b"", payload))
        invariants.check(self.target.engine)


if __name__ == "__main__":
    atheris.Setup(sys.argv, Loop().one)
    atheris.Fuzz()
