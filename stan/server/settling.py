"""Up to which moment everything that was received is settled: stored and answered, or refused.

Bursts of publishes are numbered as they come, and may leave the queue in another order. So a
*mark* is made when everything received is in the queue, with the last number given; when the
batches have taken all numbers up to it and are true, what came before the mark is settled.
Costs a few steps a batch. Invariant: `settled_ns` is never later than the arrival of anything
that is not settled.
"""

# More standbys than any group has.
_MOST_ASKERS = 64


class Settling:
    def __init__(self, now_ns: int) -> None:
        self.settled_ns = now_ns
        self._mark_ns = 0  # 0: there is none
        self._mark_number = 0
        self._is_taken = False  # whether the batch in flight takes the last before the mark

    def seal(self, now_ns: int, last: int, first_left: int, is_all_queued: bool) -> None:
        """A batch is sealed. Before that `last` was the number of the last burst; it left
        `first_left` as the first one, or 0 for none. Whether all that was received, and asks
        for anything, was in the queue."""
        if self._mark_ns == 0 and is_all_queued:
            self._mark_ns, self._mark_number = now_ns, last
        self._is_taken = first_left == 0 or first_left > self._mark_number

    def commit(self) -> None:
        """The batch is true."""
        if self._mark_ns and self._is_taken:
            self.settled_ns, self._mark_ns = self._mark_ns, 0

    def fail(self) -> None:
        """Nothing of the batch is true: its publishes stand in the queue again, or were
        refused."""
        self._mark_ns = 0

    def rest(self, now_ns: int) -> None:
        """Nothing waits for anything."""
        self.settled_ns, self._mark_ns = now_ns, 0


class Questions:
    """The question that standbys ask: up to which moment, of theirs, is all settled?

    A question comes behind all that NATS had for this server when it was asked. So once what
    was received before the question is settled, everything sent before it was asked is, and
    no two clocks are compared.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, int]] = {}  # by asker: its moment, and ours

    def ask(self, asker: str, moment_ns: int, now_ns: int, settled_ns: int) -> int:
        """The latest moment asked about by this one before which all is settled; 0: none. What
        was received at the very moment `settled_ns` may not be."""
        asked_ns, received_ns = self._waiting.pop(asker, (moment_ns, now_ns))
        if len(self._waiting) >= _MOST_ASKERS:
            self._waiting.clear()
        if received_ns >= settled_ns:
            self._waiting[asker] = (asked_ns, received_ns)
            return 0
        if now_ns >= settled_ns:
            self._waiting[asker] = (moment_ns, now_ns)
            return asked_ns
        return moment_ns
