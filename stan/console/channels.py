"""One channel: its numbers, its limits, and its messages by sequence or time.

Payloads leave this module as text that the templates escape, or as an attachment that a
browser saves and never shows.
"""

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from stan.console import formats
from stan.console.access import RefusedError
from stan.console.fields import read_time
from stan.console.topics import name_rows
from stan.console.urls import link
from stan.console.visit import PROTECTION, Visit
from stan.errors import AdminError

MESSAGES = 20
VIEWS = ("auto", "text", "json", "hex")
# Durables of the channel that its own page names; the others are on theirs.
DURABLES = 10
MAX_SEQUENCE = 2**64 - 1


async def show_channel(visit: Visit) -> web.StreamResponse:
    """The page of a channel."""
    name = visit.parameter("channel")
    channel = await visit.run("channel.info", channel=name)
    durables = await visit.run("durable.list", channel=name, limit=DURABLES)
    listing: dict[str, Any] = {"messages": [], "next_sequence": 0}
    trouble = ""
    if visit.may_read_payloads:
        try:
            listing = await visit.run("message.get", **_ask_messages(visit, channel))
        except (AdminError, ValueError) as error:
            trouble = str(error)
    view = visit.parameter("view")
    view = view if view in VIEWS else "auto"
    messages = [_show(one, view) for one in listing["messages"]]
    return visit.render(
        "channel.html",
        channel=channel,
        durables=name_rows(durables["durables"]),
        durables_total=durables["total"],
        messages=messages,
        trouble=trouble,
        view=view,
        views=VIEWS,
        earlier=_earlier(name, messages, channel, view),
        later=_later(name, listing, channel, view),
        live=link("live", topic="channel", channel=name),
    )


async def download(visit: Visit) -> web.StreamResponse:
    """The whole payload of one message, to be saved."""
    if not visit.may_read_payloads:
        raise RefusedError(403, "error.payloads")
    name, sequence = visit.parameter("channel"), _sequence(visit.parameter("sequence"))
    answer = await visit.run("message.get", channel=name, sequence=sequence, count=1)
    messages = answer["messages"]
    if not messages or messages[0]["sequence"] != sequence:
        raise RefusedError(404, "error.message")
    headers = {
        **PROTECTION,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'attachment; filename="message-{sequence}.bin"',
    }
    return web.Response(
        body=base64.b64decode(messages[0]["data"]),
        content_type="application/octet-stream",
        headers=headers,
    )


def _ask_messages(visit: Visit, channel: Mapping[str, Any]) -> dict[str, Any]:
    """The messages that the address means: from a sequence, from a time, or the last ones.
    Raises ValueError."""
    request: dict[str, Any] = {
        "channel": channel["name"],
        "count": MESSAGES,
        "max_bytes": formats.SHOWN_BYTES,
    }
    if text := visit.parameter("sequence"):
        request["sequence"] = _sequence(text)
    elif text := visit.parameter("time"):
        request["time"] = read_time(text)
    else:
        request["last"] = MESSAGES
        del request["count"]
    return request


def _sequence(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:21]) > MAX_SEQUENCE:
        raise AdminError(400, f'"{text[:40]}" is no sequence')
    return int(text)


def _show(message: Mapping[str, Any], view: str) -> dict[str, Any]:
    """A message as the page shows it: text, JSON or hex, as wanted or as it fits."""
    data = base64.b64decode(message["data"])
    is_whole = len(data) >= message["size_bytes"]
    shown: str | None = None
    kind = view
    if view in ("auto", "json") and is_whole:
        shown, kind = formats.show_json(data), "json"
    if shown is None and view != "hex":
        shown, kind = formats.show_text(data), "text"
    if shown is None:
        shown, kind = formats.show_hex(data), "hex"
    return {**message, "shown": shown, "kind": kind, "is_whole": is_whole}


def _earlier(
    name: str, messages: list[dict[str, Any]], channel: Mapping[str, Any], view: str
) -> str:
    first = messages[0]["sequence"] if messages else 0
    if first <= channel["first_sequence"]:
        return ""
    start = max(first - MESSAGES, channel["first_sequence"], 1)
    return link("channel", channel=name, sequence=start, view=view)


def _later(name: str, listing: Mapping[str, Any], channel: Mapping[str, Any], view: str) -> str:
    following = listing["next_sequence"]
    if not following or following > channel["last_sequence"]:
        return ""
    return link("channel", channel=name, sequence=following, view=view)
