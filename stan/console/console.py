"""The console as the monitoring port sees it: which page answers which address, and failures.

Pages and changes are made elsewhere; static files are read once. Invariant: nothing raises
past `respond` but what the port knows to answer, and a failure shows no more than a sentence.
"""

import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from mimetypes import guess_type

from aiohttp import web

from stan.console import changes, channels, language, lists, live, login, screens
from stan.console.access import Access, RefusedError
from stan.console.sampler import Sampler
from stan.console.sessions import Sessions
from stan.console.visit import LANGUAGE_COOKIE, PROTECTION, Visit, make_templates
from stan.errors import AdminError
from stan.server.monitor.pages import PREFIX, Surroundings

STATIC = (
    "console.css",
    "console.js",
    "vendor/htmx.min.js",
    "vendor/uPlot.iife.min.js",
    "vendor/uPlot.min.css",
)
_STATUSES = frozenset((400, 403, 404, 409, 503))

Answer = Callable[[Visit], Awaitable[web.StreamResponse]]


class Console:
    """The pages of one server."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._run = surroundings.run
        self.access = Access(surroundings, Sessions())
        self.sampler = Sampler(surroundings.run)
        self._static: dict[str, tuple[bytes, str]] = {}
        self._templates = make_templates(self._read_static())
        self._pages: dict[str, Answer] = {
            "": screens.show_overview,
            "channels": lists.show_channels,
            "channel": channels.show_channel,
            "download": channels.download,
            "durables": lists.show_durables,
            "durable": screens.show_durable,
            "clients": lists.show_clients,
            "client": screens.show_client,
            "store": screens.show_store,
            "settings": screens.show_settings,
            "login": login.show_login,
            "live": self._watch,
        }
        self._posts: dict[str, Answer] = {
            "change": changes.change,
            "login": login.log_in,
            "logout": login.log_out,
        }

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever a browser asks for below the prefix."""
        name = request.path.removeprefix(f"{PREFIX}/")
        if name.startswith("static/"):
            return self._send_static(request, name.removeprefix("static/"))
        pages = self._posts if request.method == "POST" else self._pages
        visit = self._receive(request)
        try:
            self.access.check_host(request)
            answer = pages.get(name)
            if answer is None or request.method not in ("GET", "HEAD", "POST"):
                raise RefusedError(404, "error.page")
            if request.method == "POST":
                self.access.check_origin(request)
            visit.session = self.access.find_session(request, visit.now_s)
            visit.is_trusted = self.access.is_trusted(request, visit.session)
            if answer != self._watch:
                # While there is nothing to ask, the login and the error page need no server.
                with contextlib.suppress(AdminError):
                    visit.info = await visit.run("server.info")
            return await answer(visit)
        except RefusedError as refusal:
            return visit.render("error.html", refusal.status, text=visit.say(refusal.key))
        except AdminError as error:
            status = error.code if error.code in _STATUSES else 500
            return visit.render("error.html", status, text=str(error))

    async def close(self) -> None:
        """End the streams."""
        await self.sampler.close()

    def _receive(self, request: web.Request) -> Visit:
        chosen = request.query.get("lang", "") or request.cookies.get(LANGUAGE_COOKIE, "")
        accepted = request.headers.get("Accept-Language", "")
        return Visit(
            request,
            self.access,
            self._templates,
            self._run,
            language.choose(accepted, chosen),
            time.time(),
        )

    async def _watch(self, visit: Visit) -> web.StreamResponse:
        return await live.stream(visit, self.sampler)

    def _read_static(self) -> dict[str, str]:
        """Read the files; their addresses carry a hash, so that browsers may keep them."""
        addresses = {}
        for name in STATIC:
            content = files("stan.console").joinpath("static", *name.split("/")).read_bytes()
            kind = guess_type(name)[0] or "application/octet-stream"
            self._static[name] = (content, kind)
            stamp = hashlib.sha256(content).hexdigest()[:12]
            addresses[name.rpartition("/")[2]] = f"static/{name}?{stamp}"
        return addresses

    def _send_static(self, request: web.Request, name: str) -> web.Response:
        found = self._static.get(name)
        if found is None or request.method not in ("GET", "HEAD"):
            raise web.HTTPNotFound
        headers = {**PROTECTION, "Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=found[0], content_type=found[1], charset="utf-8", headers=headers)
