"""What NATS complains of, and how often it left us: each loss is counted, and named if it can be.

A NATS server cuts off whoever reads too slowly, and says so in its own log only. The child's
log is read; that of somebody else's server cannot be, so there a loss while much waited is
called likely. Nothing is decided here.
"""

import logging
import re

log = logging.getLogger("stan.server")

# What NATS says; of what is published only the part of the subject that clients do not choose.
_VIOLATION = re.compile(
    r'permissions violation for (subscription to .*|publish to "(_stan\.)?[^."]*)', re.IGNORECASE
)
_MOST_VIOLATIONS = 20
_SLOW = "slow consumer"
_OURS = "messages dropped"
# The name of the connection comes behind language and version, the reason at the end.
_CUT_OFF = re.compile(r'[:"](?P<name>[^:"]+)" - Slow Consumer Detected: (?P<reason>.*)')
_PENDING = re.compile(r"MaxPending of (\d+) Exceeded")
# With this much not yet stored a loss of the connection may well be for being slow.
MUCH_BYTES = 16 * 1024 * 1024


class Complaints:
    """`name` is that of our NATS connection, by which a NATS server's log knows us.

    `losses` counts how often the connection was lost, `slow_losses` those for reading too
    slowly, as far as that is known or likely.
    """

    def __init__(self, name: str) -> None:
        self.losses = 0
        self.slow_losses = 0
        self._name = name
        self._reads_log = False
        self._is_told = False
        self._violations: set[str] = set()

    def take(self, text: str) -> None:
        """Log what NATS says to us. A permission that is missing is an error, since the server
        then cannot hear or answer somebody; it is said once for each kind of subject."""
        violation = _VIOLATION.search(text)
        is_news = violation is not None and violation[0] not in self._violations
        if violation is not None and is_news and len(self._violations) < _MOST_VIOLATIONS:
            self._violations.add(violation[0])
            log.error("NATS: %s", text)
        else:
            log.debug("NATS: %s", text)
        # nats-py says the same of a subscription that we are slow with, and nobody is cut off.
        lowered = text.lower()
        self._is_told = self._is_told or (_SLOW in lowered and _OURS not in lowered)

    def take_line(self, text: str) -> None:
        """Look at a line of the log of a NATS server of our own."""
        self._reads_log = True
        found = _CUT_OFF.search(text)
        if found is None or found["name"] != self._name:
            return
        self.slow_losses += 1
        pending = _PENDING.search(found["reason"])
        if pending is None:
            what, option = found["reason"].rstrip("."), "write_deadline"
        else:
            what, option = f"more than {pending[1]} bytes were pending", "max_pending"
        log.error(
            "NATS cut us off, since we read too slowly (%s): raise %s of the NATS server",
            *(what, option),
        )

    def lost(self, waiting_bytes: int) -> None:
        """The connection was lost, while so much of what clients sent was not stored yet."""
        self.losses += 1
        log.warning("NATS connection lost, reconnecting")
        is_told, self._is_told = self._is_told, False
        if self._reads_log or not (is_told or waiting_bytes >= MUCH_BYTES):
            return
        self.slow_losses += 1
        log.error(
            '%s, since we read too slowly (%d bytes were waiting): look for "Slow Consumer '
            'Detected" and "%s" in its log, and raise its max_pending',
            "NATS cut us off" if is_told else "NATS may have cut us off",
            *(waiting_bytes, self._name),
        )
