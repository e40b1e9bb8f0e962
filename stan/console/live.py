"""Server-sent events: one stream for a page, of the one topic that it is about.

Invariant: a stream shows nothing that the page it belongs to does not show.
"""

import contextlib
from collections.abc import Mapping

from aiohttp import web

from stan.console import topics
from stan.console.access import RefusedError
from stan.console.lists import LISTS
from stan.console.sampler import Sampler, TooManyViewers
from stan.console.urls import durable_identity
from stan.console.visit import PROTECTION, Visit

HEADERS = {
    **PROTECTION,
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",
}
# How soon a browser that lost the stream comes back.
_RETRY = b"retry: 3000\n\n"


async def stream(visit: Visit, sampler: Sampler) -> web.StreamResponse:
    """Send samples until the browser leaves or the server stops."""
    question = find_question(visit.request.query)
    events = sampler.watch(question)
    async with contextlib.aclosing(events):
        try:
            first = await anext(events)
        except TooManyViewers:
            raise RefusedError(503, "error.viewers") from None
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(visit.request)
        with contextlib.suppress(ConnectionError):
            await response.write(_RETRY + first)
            async for event in events:
                await response.write(event)
            await response.write_eof()
    return response


def find_question(query: Mapping[str, str]) -> topics.Question:
    """The question that a stream's address means. Raises RefusedError."""
    kind = query.get("topic", "")
    if kind == "server":
        return topics.server_question()
    if kind == "channel":
        return topics.channel_question(query.get("channel", ""))
    if kind == "durable":
        return topics.durable_question(durable_identity({"channel": "", **query}))
    if kind in LISTS:
        return topics.list_question(f"{kind[:-1]}.list", LISTS[kind](query))
    raise RefusedError(404, "error.page")
