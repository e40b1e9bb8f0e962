"""When a standby goes to another NATS server than the active's.

What clients publish while nobody hears it is lost to them; two members at one NATS server
both go deaf when that one dies. Only decides; it knows no NATS.
"""

# Going over costs a standby what is sent meanwhile, and may lead back to the same server when
# all others are down: so not again at once, and ever more seldom.
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


class Apart:
    """The decision of one member. All times are those of one steady clock, in seconds."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._not_before_s = 0.0

    def is_time_to_move(self, ours: str, theirs: str, choices: int, now_s: float) -> bool:
        """Whether to leave our NATS server, which is ours by its ID, as that of the active is
        theirs. `choices` is how many servers we know. An ID may be unknown: empty."""
        if not ours or ours != theirs:
            self._pause_s = FIRST_PAUSE_S
            return False
        if choices < 2 or now_s < self._not_before_s:
            return False
        self._not_before_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return True
