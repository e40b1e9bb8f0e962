"""The seam between the monitoring port and pages made for people, which lie above the server.

What makes them is called when the first browser asks, in a thread: templates take long to
load, and few servers are ever looked at. Invariant: whether or not there are pages, every
other path of the port answers as if there were none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from stan.server.monitor.pages import PREFIX, Pages

log = logging.getLogger("stan.server")

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Browsing:
    """The pages of one port, made when they are first asked for."""

    def __init__(self, make: Callable[[], Pages] | None) -> None:
        self._make = make
        self._pages: Pages | None = None
        self._making = asyncio.Lock()

    def add_to(self, application: web.Application) -> None:
        """Answer below `PREFIX`."""
        application.router.add_route("*", f"{PREFIX}{{rest:(/.*)?}}", self._respond)

    def welcoming(self, respond: Respond) -> Respond:
        """The same answer, but for browsers, which are sent to the pages."""

        async def welcome(request: web.Request) -> web.StreamResponse:
            if "text/html" in request.headers.get("Accept", "") and await self._find() is not None:
                # Relative: a proxy may have put the port below a path.
                return _send_to(f".{PREFIX}/")
            return await respond(request)

        return welcome

    async def close(self) -> None:
        """End what has no end, so that the port can be closed."""
        if self._pages is not None:
            await self._pages.close()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        pages = await self._find()
        if pages is None:
            raise web.HTTPNotFound
        if request.path == PREFIX:
            return _send_to(f".{PREFIX}/")
        return await pages.respond(request)

    async def _find(self) -> Pages | None:
        async with self._making:
            if self._pages is None and self._make is not None:
                make, self._make = self._make, None
                try:
                    self._pages = await asyncio.to_thread(make)
                except ImportError as error:
                    log.warning(
                        "A browser asks for the console, which is not installed (%s):"
                        " pip install 'nats-stan[console]'",
                        error,
                    )
            return self._pages


def _send_to(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location, "Vary": "Accept"})
