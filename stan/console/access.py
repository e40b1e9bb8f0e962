"""Who may look, who may read payloads, and who may change something.

Looking needs nothing that the monitoring port does not need. Payloads were never on that
port: they, and every change, are for somebody who logged in, or who sits at the machine when
no login is configured and the port listens on loopback only. Invariant: nothing that another
web site makes a browser send changes anything: a change needs the session's cookie, which
other sites' requests lack, its token, and an origin that is this one.
"""

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from stan.console.passwords import Login
from stan.console.sessions import Session, Sessions
from stan.server.monitor.pages import Surroundings

# What proxies add. Whoever comes through one does not sit at the machine.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class RefusedError(Exception):
    """An answer that is an error page: its status, and the sentence's key in the catalogues."""

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


class Access:
    """The rights on one port."""

    def __init__(self, surroundings: Surroundings, sessions: Sessions) -> None:
        self.sessions = sessions
        self.is_secure = surroundings.is_secure
        self.login: Login | None = None
        if surroundings.user and surroundings.password:
            self.login = Login(surroundings.user, surroundings.password)
        self.is_local = is_loopback(surroundings.host)

    def check_host(self, request: web.Request) -> None:
        """On loopback without a login, only names of this machine: a foreign name that was
        made to point here is another site's attempt to read. Raises RefusedError."""
        if self.login is None and self.is_local and not is_loopback(_host(request)):
            raise RefusedError(421, "error.host")

    def is_trusted(self, request: web.Request, session: Session | None) -> bool:
        """Whether payloads may be shown and changes made, as far as it is about who asks."""
        if self.login is not None:
            return session is not None and bool(session.user)
        if not self.is_local or not is_loopback(request.remote or ""):
            return False
        return not any(name in request.headers for name in _FORWARDED)

    def check_origin(self, request: web.Request) -> None:
        """A form comes from a page of ours. Raises RefusedError."""
        origin = request.headers.get("Origin")
        if origin is not None:
            is_ours = urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()
        else:
            is_ours = request.headers.get("Sec-Fetch-Site") == "same-origin"
        if not is_ours:
            raise RefusedError(403, "error.origin")

    def check_token(self, session: Session | None, token: str) -> None:
        """A form was made for this session. Raises RefusedError."""
        if session is None or not hmac.compare_digest(session.token.encode(), token.encode()):
            raise RefusedError(403, "error.token")

    def find_session(self, request: web.Request, now_s: float) -> Session | None:
        """The session that the browser's cookie names."""
        return self.sessions.find(request.cookies.get(cookie_name(request), ""), now_s)

    def give_cookie(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Let the browser come back with this session, but never on behalf of another site."""
        response.set_cookie(
            cookie_name(request),
            session.key,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self.is_secure or None,
        )


def cookie_name(request: web.Request) -> str:
    """Browsers keep one jar for all ports of a host: each server has a name of its own."""
    address = request.transport.get_extra_info("sockname") if request.transport else None
    return f"stan_console_{address[1]}" if address else "stan_console"


def is_loopback(host: str) -> bool:
    """Whether a host, or an address, is this machine and nobody else's way to it."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host(request: web.Request) -> str:
    """The host that the browser believes it talks to, without the port."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""
