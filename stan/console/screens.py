"""The screens about one thing: the server, a durable, a client, the store, the settings.

Each asks the operations and hands a template what they answered.
"""

from typing import Any

from aiohttp import web

from stan.console.diagnosis import find_alarms, find_reasons
from stan.console.topics import STALLED, name_rows
from stan.console.urls import durable_identity, link
from stan.console.visit import Visit
from stan.errors import AdminError

# As many as somebody looks through; what they have in common shows in the first ones.
PARKED_ROWS = 50


async def show_overview(visit: Visit) -> web.StreamResponse:
    """How the server does."""
    if visit.info is None:
        return await _show_absence(visit)
    stalled: dict[str, Any] = await visit.run("durable.list", **STALLED)
    return visit.render(
        "overview.html",
        alarms=find_alarms(visit.info, stalled["total"]),
        stalled=name_rows(stalled["durables"]),
        live=link("live", topic="server"),
    )


async def show_durable(visit: Visit) -> web.StreamResponse:
    """One durable or group, why it does not progress, and what can be done."""
    identity = durable_identity({"channel": "", **visit.request.query})
    durable = await visit.run("durable.info", **identity)
    reasons = find_reasons(durable)
    return visit.render(
        "durable.html",
        durable=durable,
        name=durable["queue_group"] or durable["durable"] or durable["client_id"],
        identity=identity,
        reasons=reasons,
        remedies=list(dict.fromkeys(one for reason in reasons for one in reason.remedies)),
        live=link("live", topic="durable", **identity),
    )


async def show_client(visit: Visit) -> web.StreamResponse:
    """One client and its subscriptions."""
    client = await visit.run("client.info", client_id=visit.parameter("client_id"))
    subscriptions = [
        (one, durable_identity({**one, "client_id": client["client_id"]}))
        for one in client.get("subscriptions", ())
    ]
    return visit.render("client.html", client=client, subscriptions=subscriptions)


async def show_store(visit: Visit) -> web.StreamResponse:
    """Where messages are kept, and who may write there."""
    if visit.info is None:
        return await _show_absence(visit)
    biggest = await visit.run("channel.list", sort="bytes", reverse=True, limit=10)
    return visit.render(
        "store.html",
        biggest=biggest["channels"],
        parked=await _find_parked(visit),
        live=link("live", topic="server"),
    )


async def _find_parked(visit: Visit) -> dict[str, Any] | None:
    """The rows of the outbox that were set aside, if there is an outbox."""
    try:
        return await visit.run("outbox.list", limit=PARKED_ROWS)
    except AdminError as error:
        if error.code == 409:
            return None
        raise


async def show_settings(visit: Visit) -> web.StreamResponse:
    """The limits and the options in effect."""
    config = await visit.run("server.config")
    limits = await visit.run("server.limits")
    only_set = bool(visit.parameter("set"))
    options = [one for one in config["options"] if not only_set or one["source"] != "default"]
    return visit.render("settings.html", options=options, limits=limits, only_set=only_set)


async def _show_absence(visit: Visit) -> web.StreamResponse:
    """Say why there is nothing to show."""
    try:
        await visit.run("server.info")
    except AdminError as error:
        return visit.render("error.html", 503, text=str(error))
    return visit.render("error.html", 503, text=visit.say("error.again"))
