"""Passwords: compared as NATS compares them, and not too often.

A configured password that begins like a bcrypt hash is one, any other is the password itself.
Invariant: an address that failed `MOST_FAILURES` times is not heard for `PAUSE_S`, whatever it
says; and however many ask at once, one password is checked at a time.
"""

import asyncio
import hmac
from collections.abc import Callable
from time import monotonic

import bcrypt

MOST_FAILURES = 5
PAUSE_S = 60.0
MOST_ADDRESSES = 1024
# bcrypt looks at no more.
BCRYPT_BYTES = 72
_BCRYPT = ("$2a$", "$2b$", "$2x$", "$2y$")


class TooManyAttempts(Exception):
    """Ask again later."""


class Login:
    """The one user who may log in."""

    def __init__(self, user: str, password: str, clock_s: Callable[[], float] = monotonic) -> None:
        self._user = user
        self._password = password
        self._clock_s = clock_s
        self._checking = asyncio.Lock()
        # When each address failed lately, the one that failed longest ago first.
        self._failures: dict[str, list[float]] = {}

    async def check(self, address: str, user: str, password: str) -> bool:
        """Whether these are the user and the password. Raises TooManyAttempts."""
        async with self._checking:
            now_s = self._clock_s()
            recent = [at for at in self._failures.get(address, ()) if now_s - at < PAUSE_S]
            if len(recent) >= MOST_FAILURES:
                raise TooManyAttempts
            # The password is looked at for any user: the time tells nothing of names.
            fits = await asyncio.to_thread(matches, self._password, password)
            if fits & hmac.compare_digest(user.encode(), self._user.encode()):
                self._failures.pop(address, None)
                return True
            self._failures.pop(address, None)
            while len(self._failures) >= MOST_ADDRESSES:
                del self._failures[next(iter(self._failures))]
            self._failures[address] = [*recent, self._clock_s()]
            return False


def is_hash(password: str) -> bool:
    """Whether a configured password is a bcrypt hash."""
    return password.startswith(_BCRYPT)


def matches(configured: str, given: str) -> bool:
    """Whether this is the configured password."""
    if not is_hash(configured):
        return hmac.compare_digest(configured.encode(), given.encode())
    try:
        return bcrypt.checkpw(given.encode()[:BCRYPT_BYTES], configured.encode())
    except ValueError:  # a hash that is none, or a password with a zero byte
        return False
