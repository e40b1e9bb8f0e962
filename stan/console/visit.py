"""One request of a browser: who asks, in which language, with which rights; and its answer.

Invariant: every page that leaves here is escaped by the templates and carries `PROTECTION`,
under which a browser runs, loads and frames nothing but what this server sends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from aiohttp import web
from jinja2 import Environment
from markupsafe import Markup

from stan.console import formats, language
from stan.console.access import Access
from stan.console.sessions import Session
from stan.console.urls import link
from stan.server.monitor.pages import Run

PROTECTION = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LANGUAGE_COOKIE = "stan_language"
YEAR_S = 365 * 86_400


@dataclass(slots=True)
class Visit:
    """A request with what was found out about it. `info` is the server.info of this moment,
    empty while there is none."""

    request: web.Request
    access: Access
    templates: Environment
    asked: Run
    language: str
    now_s: float
    session: Session | None = None
    is_trusted: bool = False
    info: Mapping[str, Any] | None = None
    back: str = "./"  # where a page that answers a form leads

    @property
    def who(self) -> str:
        """How the log names whoever asks."""
        user = self.session.user if self.session is not None else ""
        return f"console {user or 'user'}@{self.request.remote}"

    @property
    def mode(self) -> str:
        """What the server allows at all: off, read or full."""
        return str((self.info or {}).get("mode", "read"))

    @property
    def may_change(self) -> bool:
        return self.is_trusted and self.mode == "full"

    @property
    def may_read_payloads(self) -> bool:
        return self.is_trusted and self.mode != "off"

    def parameter(self, name: str) -> str:
        """A parameter of the address."""
        return self.request.query.get(name, "").strip()

    async def run(self, endpoint: str, **request: Any) -> dict[str, Any]:
        """An operation in the name of whoever asks. Raises AdminError."""
        return await self.asked(endpoint, request, self.who)

    def begin_session(self) -> Session:
        """The session, a new one when there is none."""
        if self.session is None:
            self.session = self.access.sessions.begin(self.now_s)
        return self.session

    def say(self, key: str, **words: object) -> str:
        """A sentence in the reader's language."""
        return language.say(self.language, key, words)

    def render(self, template: str, status: int = 200, **words: Any) -> web.Response:
        """A page."""
        if self.may_change:
            self.begin_session()
        session = self.session
        here = self.request.path.rpartition("/")[2]
        query = {name: value for name, value in self.request.query.items() if name != "lang"}
        # What answers a form has no address of its own that could be asked for again.
        switch = language.NAMES if self.request.method != "POST" else {}
        page = self.templates.get_template(template).render(
            visit=self,
            info=self.info or {},
            t=self.say,
            here=here or "./",
            tag=language.TAGS[self.language],
            languages=[
                (code, name, link(here or "./", **{**query, "lang": code}))
                for code, name in switch.items()
            ],
            token=session.token if session is not None else "",
            notes=session.take_notes() if session is not None else [],
            now=datetime.fromtimestamp(self.now_s, UTC),
            url=link,
            **words,
        )
        response = web.Response(
            text=page, status=status, content_type="text/html", headers=PROTECTION
        )
        if session is not None:
            self.access.give_cookie(self.request, response, session)
        if self.request.query.get("lang") in language.NAMES:
            response.set_cookie(
                LANGUAGE_COOKIE, self.language, max_age=YEAR_S, path="/", samesite="Lax"
            )
        return response

    def leave_to(self, location: str) -> web.Response:
        """Send the browser to another page of the console after a change."""
        response = web.Response(status=303, headers={**PROTECTION, "Location": location})
        if self.session is not None:
            self.access.give_cookie(self.request, response, self.session)
        return response


def make_templates(assets: Mapping[str, str]) -> Environment:
    """The templates; `assets` are the addresses of the static files."""
    from jinja2 import PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("stan.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["assets"] = dict(assets)
    for name in ("count", "size", "rate", "milliseconds", "span", "moment"):
        environment.filters[name] = getattr(formats, name)
    environment.filters["age"] = formats.age_s
    environment.filters["limit"] = _limit
    environment.filters["stamp"] = _stamp
    for name in environment.list_templates():  # compiled now, not when somebody waits
        environment.get_template(name)
    return environment


def _limit(value: float, kind: str = "count") -> str:
    """A limit; 0 is none."""
    return cast(str, getattr(formats, kind)(value)) if value else "∞"


def _stamp(text: str) -> Markup:
    """A time that machines can read, too."""
    if not text:
        return Markup("-")
    shown = formats.moment(text)
    return Markup('<time datetime="{}">{}</time>').format(text, shown)
