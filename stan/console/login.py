"""Logging in and out."""

from aiohttp import web

from stan.console.access import RefusedError
from stan.console.changes import read_form
from stan.console.passwords import PAUSE_S, TooManyAttempts
from stan.console.visit import Visit


async def show_login(visit: Visit) -> web.StreamResponse:
    """The form, or why there is none."""
    visit.begin_session()
    return visit.render("login.html", failed="")


async def log_in(visit: Visit) -> web.StreamResponse:
    """Check the password. The session gets another key: the old one may be known to others."""
    form = await read_form(visit)
    access, login = visit.access, visit.access.login
    if login is None:
        raise RefusedError(403, "error.no_login")
    address = visit.request.remote or ""
    try:
        fits = await login.check(address, form.get("user", ""), form.get("password", ""))
    except TooManyAttempts:
        response = visit.render("login.html", 429, failed="login.pause")
        response.headers["Retry-After"] = str(int(PAUSE_S))
        return response
    if not fits:
        return visit.render("login.html", 403, failed="login.wrong")
    if visit.session is not None:
        access.sessions.end(visit.session)
    visit.session = access.sessions.begin(visit.now_s, form["user"])
    return visit.leave_to("./")


async def log_out(visit: Visit) -> web.StreamResponse:
    """Forget the session."""
    await read_form(visit)
    if visit.session is not None:
        visit.access.sessions.end(visit.session)
    visit.session = visit.access.sessions.begin(visit.now_s)
    return visit.leave_to("./")
