"""Changes: forms in, operations run, the reader sent on with a sentence that says what happened.

What destroys is first tried by the operation itself (`dry_run`), and a page tells with numbers
what will go. Invariant: nothing is run that this table does not name, and nothing before the
session's token, the origin and the right to change were checked.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from stan.console.access import RefusedError
from stan.console.fields import read_limits, read_number, read_time
from stan.console.urls import durable_identity, link
from stan.console.visit import Visit
from stan.errors import AdminError

FORM = "application/x-www-form-urlencoded"
# Written into the form of the page that asks; what it says is checked like any other input.
_OWN = frozenset(("token", "operation", "confirmed"))

Form = dict[str, str]


@dataclass(slots=True, frozen=True)
class Change:
    """`read` makes the request of a form and may raise ValueError; `page` is where the reader
    goes afterwards. `asks` first, with the numbers that a dry run tells, unless these say that
    nothing goes, as `spares` finds."""

    read: Callable[[Form], dict[str, Any]]
    page: Callable[[Form], str]
    asks: bool = False
    is_dry: bool = True
    spares: Callable[[dict[str, Any]], bool] = lambda answer: False


async def change(visit: Visit) -> web.StreamResponse:
    """Do what a form asks for, or ask whether it is meant."""
    form = await read_form(visit)
    if not visit.may_change:
        raise RefusedError(403, "error.read_only" if visit.is_trusted else "error.rights")
    operation = form.get("operation", "")
    wanted = CHANGES.get(operation)
    if wanted is None:
        raise RefusedError(400, "error.operation")
    visit.back = wanted.page(form)
    try:
        request = wanted.read(form)
    except ValueError as error:
        raise AdminError(400, str(error)) from None
    if wanted.asks and not form.get("confirmed"):
        trial = await visit.run(operation, **request, dry_run=True) if wanted.is_dry else {}
        if not wanted.spares(trial):
            kept = {name: text for name, text in form.items() if name not in _OWN}
            return visit.render(
                "confirm.html",
                operation=operation,
                words=_plain(request | trial),
                fields=kept,
            )
    answer = await visit.run(operation, **request)
    visit.begin_session().say(f"done.{operation.replace('.', '_')}", **_plain(request | answer))
    is_gone = operation in ("channel.delete", "durable.delete", "client.disconnect")
    return visit.leave_to(_LISTS[operation] if is_gone else wanted.page(form))


async def read_form(visit: Visit) -> Form:
    """The fields of a form of this session. Raises RefusedError."""
    request = visit.request
    if request.content_type != FORM:
        raise RefusedError(400, "error.form")
    if visit.session is None:  # before anything of it is read
        raise RefusedError(403, "error.token")
    try:
        fields = await request.post()
    except (ValueError, LookupError):  # another character set than the one it names, or none
        raise RefusedError(400, "error.form") from None
    form = {name: text for name, text in fields.items() if isinstance(text, str)}
    visit.access.check_token(visit.session, form.get("token", ""))
    return form


def _plain(answer: Mapping[str, Any]) -> dict[str, object]:
    return {name: one for name, one in answer.items() if isinstance(one, str | int | float)}


def _channel(form: Form) -> dict[str, Any]:
    return {"channel": form.get("channel", "")}


def _channel_page(form: Form) -> str:
    return link("channel", channel=form.get("channel", ""))


def _durable(form: Form) -> dict[str, Any]:
    return dict(durable_identity({"channel": "", **form}))


def _durable_page(form: Form) -> str:
    return link("durable", **durable_identity({"channel": "", **form}))


def _client_page(form: Form) -> str:
    return link("client", client_id=form.get("client_id", ""))


def _read_create(form: Form) -> dict[str, Any]:
    limits = read_limits(form)
    return {"channel": form.get("channel", "").strip(), **({"limits": limits} if limits else {})}


def _read_limits(form: Form) -> dict[str, Any]:
    return {**_channel(form), "limits": None if form.get("reset") else read_limits(form)}


def _holds_all(channel: dict[str, Any]) -> bool:
    """Whether the limits, as they would be, leave room for all that is there."""
    most, most_bytes = channel["limits"]["max_msgs"], channel["limits"]["max_bytes"]
    fits = not 0 < most < channel["messages"]
    return fits and not 0 < most_bytes < channel["bytes"]


def _read_purge(form: Form) -> dict[str, Any]:
    kind, value = form.get("kind", ""), form.get("value", "").strip()
    if kind == "all":
        return {**_channel(form), "all": True}
    if kind == "before":
        return {**_channel(form), "before": read_time(value)}
    if kind in ("up_to", "keep"):
        return {**_channel(form), kind: read_number(value)}
    raise ValueError("choose what to purge")


def _read_publish(form: Form) -> dict[str, Any]:
    # Browsers end lines as mail does.
    data = form.get("data", "").replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    request = {**_channel(form), "data": base64.b64encode(data).decode("ascii")}
    return request | ({"reply": form["reply"]} if form.get("reply") else {})


def _read_message(form: Form) -> dict[str, Any]:
    return {**_channel(form), "sequence": read_number(form.get("sequence", ""), 1)}


def _read_rows(form: Form) -> dict[str, Any]:
    return {"id": read_number(form["id"])} if form.get("id") else {"all": True}


def _read_move(form: Form) -> dict[str, Any]:
    target, value = form.get("target", ""), form.get("value", "").strip()
    if target in ("first", "new", "last"):
        return {**_durable(form), "to": target}
    if target == "sequence":
        return {**_durable(form), "sequence": read_number(value, 1)}
    if target == "time":
        return {**_durable(form), "time": read_time(value)}
    raise ValueError("choose where to move to")


def _nothing(form: Form) -> dict[str, Any]:
    return {}


def _settings_page(form: Form) -> str:
    return "settings"


_LISTS = {
    "channel.delete": "channels",
    "durable.delete": "durables",
    "client.disconnect": "clients",
}

CHANGES: dict[str, Change] = {
    "channel.create": Change(_read_create, _channel_page),
    "channel.limits": Change(_read_limits, _channel_page, asks=True, spares=_holds_all),
    "channel.purge": Change(_read_purge, _channel_page, asks=True),
    # The page that asks says who is subscribed: whoever confirms it means it.
    "channel.delete": Change(
        lambda form: {**_channel(form), "force": True}, _channel_page, asks=True
    ),
    "message.publish": Change(_read_publish, _channel_page),
    "message.delete": Change(_read_message, _channel_page, asks=True),
    "durable.move": Change(_read_move, _durable_page, asks=True),
    "durable.resend": Change(_durable, _durable_page),
    "durable.delete": Change(
        lambda form: {**_durable(form), "force": True}, _durable_page, asks=True
    ),
    "client.disconnect": Change(
        lambda form: {"client_id": form.get("client_id", "")}, _client_page, asks=True
    ),
    "outbox.retry": Change(_read_rows, lambda form: "store#parked"),
    "outbox.drop": Change(_read_rows, lambda form: "store#parked", asks=True),
    "server.reload": Change(_nothing, _settings_page),
    "server.handover": Change(_nothing, lambda form: "./", asks=True, is_dry=False),
}
