"""How long to wait for publish acks before doing something about it.

Sans-I/O. What a server received in its last moment, nobody tells us about: NATS took it for
somebody who listens. So when acks stop coming the server is asked, soon and often; and what a
server that is there does not answer to, is sent again, rarely and ever more rarely. Where a
publish that is sent again is not recognised, that takes longer: a server may just be slow.
"""

from stan.units import SECOND_NS

PROBE_NS = 3 * SECOND_NS // 10
_RESEND_NS = SECOND_NS
_RESEND_UNRECOGNISED_NS = 5 * SECOND_NS
_LONGEST_RESEND_NS = 16 * SECOND_NS


class Patience:
    """Since when nothing was acknowledged, and what was done about it."""

    def __init__(self) -> None:
        self.wants_resend = False
        """Whether to send again when the server next proves to be there."""
        self._acked_ns = 0
        self._probed_ns = 0
        self._resend_ns = 0

    def acked(self, now_ns: int) -> None:
        """Acks came."""
        self._acked_ns = now_ns
        self._resend_ns = 0
        self.wants_resend = False

    def resent(self, now_ns: int) -> None:
        """What has no ack was sent again: wait anew, if not quite so confidently."""
        self._acked_ns = now_ns
        self.wants_resend = False

    def due_ns(self, oldest_ns: int) -> int:
        """When to ask the server, if the oldest publish waits since then."""
        return max(oldest_ns, self._acked_ns, self._probed_ns) + PROBE_NS

    def probed(self, now_ns: int, oldest_ns: int, recognises: bool) -> None:
        """The server is asked; `recognises` tells whether it knows what is sent again."""
        self._probed_ns = now_ns
        least_ns = _RESEND_NS if recognises else _RESEND_UNRECOGNISED_NS
        wait_ns = max(least_ns, self._resend_ns)
        if now_ns - max(oldest_ns, self._acked_ns) >= wait_ns:
            self._resend_ns = min(2 * wait_ns, _LONGEST_RESEND_NS)
            self.wants_resend = True
