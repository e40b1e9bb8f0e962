"""The long lists: channels, durables with groups, clients; a page at a time.

What is on a page is found by the operations, never here: the console holds no list.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from stan.console.topics import name_rows
from stan.console.urls import link
from stan.console.visit import Visit

ROWS = 50
# No name is longer.
MOST_FILTER = 256
SORTS = ("name", "messages", "bytes", "last", "subscriptions")


def ask_channels(query: Mapping[str, str]) -> dict[str, Any]:
    """The request that a channel list's address means."""
    sort = query.get("sort", "")
    request = _ask_page(query, sort=sort if sort in SORTS else "name")
    if query.get("reverse"):
        request["reverse"] = True
    return request


def ask_durables(query: Mapping[str, str]) -> dict[str, Any]:
    """The request that a list of durables and groups means."""
    request = _ask_page(query)
    if query.get("channel"):
        request["channel"] = query["channel"]
    if query.get("stalled"):
        request["stalled"] = True
    return request


def ask_clients(query: Mapping[str, str]) -> dict[str, Any]:
    """The request that a list of clients means."""
    return _ask_page(query)


LISTS: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "channels": ask_channels,
    "durables": ask_durables,
    "clients": ask_clients,
}


async def show_channels(visit: Visit) -> web.StreamResponse:
    """All channels, filtered and sorted."""
    request = ask_channels(visit.request.query)
    answer = await visit.run("channel.list", **request)
    sort, reverse = request["sort"], bool(request.get("reverse"))
    return visit.render(
        "channels.html",
        channels=answer["channels"],
        sort=sort,
        reverse=reverse,
        **_pages(visit, answer, "channels", sort=sort, reverse="1" if reverse else ""),
    )


async def show_durables(visit: Visit) -> web.StreamResponse:
    """All durables and groups, of one channel or of all."""
    query = visit.request.query
    request = ask_durables(query)
    answer = await visit.run("durable.list", **request)
    channel, stalled = query.get("channel", ""), bool(request.get("stalled"))
    return visit.render(
        "durables.html",
        durables=name_rows(answer["durables"]),
        channel=channel,
        stalled=stalled,
        **_pages(visit, answer, "durables", channel=channel, stalled="1" if stalled else ""),
    )


async def show_clients(visit: Visit) -> web.StreamResponse:
    """All clients."""
    answer = await visit.run("client.list", **ask_clients(visit.request.query))
    return visit.render(
        "clients.html", clients=answer["clients"], **_pages(visit, answer, "clients")
    )


def _ask_page(query: Mapping[str, str], **more: Any) -> dict[str, Any]:
    digits = query.get("offset", "")
    offset = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    request = {"offset": offset, "limit": ROWS, **more}
    if text := query.get("filter", "").strip():
        request["filter"] = text[:MOST_FILTER]
    return request


def _pages(visit: Visit, answer: Mapping[str, Any], page: str, **query: str) -> dict[str, Any]:
    """Where among all rows a page is, and how to come to the others."""
    total, offset = int(answer["total"]), int(answer["offset"])
    text = visit.parameter("filter")
    shown = len(answer[page])

    def at(start: int) -> str:
        return link(page, filter=text, offset=start or "", **query)

    return {
        "filter": text,
        "total": total,
        "first": offset + 1 if shown else 0,
        "last": offset + shown,
        "previous": at(max(offset - ROWS, 0)) if offset else "",
        "next": at(offset + ROWS) if offset + shown < total else "",
        "live": link("live", topic=page, filter=text, offset=offset or "", **query),
    }
