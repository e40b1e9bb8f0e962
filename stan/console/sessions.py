"""Who is looking: sessions known by a cookie, each with the token that its forms carry.

Only memory: a restart forgets them all. Invariant: there are never more sessions than
`MOST_SESSIONS`, and nobody without a login can push out somebody with one.
"""

import secrets
from dataclasses import dataclass, field

MOST_SESSIONS = 1024
MOST_LOGINS = 256
IDLE_S = 3600.0
LIFETIME_S = 12 * 3600.0
MOST_NOTES = 8


@dataclass(slots=True)
class Session:
    """`user` is empty until a login; `notes` are said on the next page."""

    key: str
    token: str
    began_s: float
    seen_s: float
    user: str = ""
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def say(self, key: str, **words: object) -> None:
        """Have a sentence of the catalogue said on the next page."""
        self.notes = [*self.notes, (key, words)][-MOST_NOTES:]

    def take_notes(self) -> list[tuple[str, dict[str, object]]]:
        """What is to be said now."""
        notes, self.notes = self.notes, []
        return notes


class Sessions:
    """All sessions, the one seen longest ago first."""

    def __init__(self) -> None:
        self._guests: dict[str, Session] = {}
        self._users: dict[str, Session] = {}

    def find(self, key: str, now_s: float) -> Session | None:
        """The session of this cookie, which is seen now."""
        kind = self._users if key in self._users else self._guests
        session = kind.pop(key, None)
        if session is None:
            return None
        if now_s - session.seen_s > IDLE_S or now_s - session.began_s > LIFETIME_S:
            return None
        session.seen_s = now_s
        kind[key] = session
        return session

    def begin(self, now_s: float, user: str = "") -> Session:
        """A session with a key that nobody has seen before."""
        session = Session(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), now_s, now_s, user=user
        )
        kind, most = (self._users, MOST_LOGINS) if user else (self._guests, MOST_SESSIONS)
        while len(kind) >= most:
            del kind[next(iter(kind))]
        kind[session.key] = session
        return session

    def end(self, session: Session) -> None:
        """Forget it."""
        self._guests.pop(session.key, None)
        self._users.pop(session.key, None)
