"""The operations by name: whoever asks, through whatever, comes through `run`.

Each change is one line of the log. Invariant: nothing is answered while this server does not
serve, and nothing is changed where that is not allowed.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from stan.errors import AdminError, ConfigError
from stan.server.admin.changing import Changing
from stan.server.admin.parked import Parked
from stan.server.admin.reading import Reading, Served
from stan.server.admin.requests import CHANGING, check
from stan.server.admin.schema import describe_schema
from stan.server.admin.settings import describe_options, describe_server, describe_store_limits
from stan.server.log import on_one_line

log = logging.getLogger("stan.server")


class Operations:
    """What can be asked of one server. `served` tells what serves now, None on a standby;
    `reload` and `hand_over` are the server's own, the latter None outside a group."""

    def __init__(
        self,
        served: Callable[[], Served | None],
        nats_url: Callable[[], str],
        mode: str = "read",
        reload: Callable[[], list[str]] | None = None,
        hand_over: Callable[[], None] | None = None,
    ) -> None:
        self._served = served
        self._nats_url = nats_url
        self._mode = mode
        self._reload = reload
        self._hand_over = hand_over

    async def run(self, endpoint: str, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """Answer, or raise AdminError."""
        served = self._served()
        if served is None:
            raise AdminError(503, "this server stands by: ask the active one of its group")
        check(endpoint, request)
        if endpoint in CHANGING:
            return await self._change(served, endpoint, request, who)
        if endpoint == "server.info":
            return describe_server(served, self._mode, self._nats_url(), time.time_ns())
        if endpoint == "server.limits":
            return describe_store_limits(served)
        if endpoint == "server.config":
            return describe_options(served.config)
        if endpoint == "server.schema":
            return describe_schema()
        if endpoint.startswith("outbox."):
            return await Parked(served).reading[endpoint](request)
        return await Reading(served).endpoints[endpoint](request)

    async def _change(
        self, served: Served, endpoint: str, request: Mapping[str, Any], who: str
    ) -> dict[str, Any]:
        if self._mode != "full":
            raise AdminError(403, "this server allows no changes (-admin full does)")
        asked = f"{who} asked for {endpoint} {_describe(request)}"
        try:
            answer = await self._do(served, endpoint, request)
        except AdminError as error:
            if error.code == 503 and not request.get("dry_run"):  # it may still be done
                log.warning("Admin: %s: %s", on_one_line(asked), on_one_line(str(error)))
            raise
        if not request.get("dry_run"):
            numbers = [f"{name}={n}" for name, n in answer.items() if type(n) is int]
            log.info("Admin: %s", on_one_line(f"{asked}: {' '.join(numbers)}"))
        return answer

    async def _do(
        self, served: Served, endpoint: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if endpoint == "server.reload":
            if self._reload is None:
                raise AdminError(409, "this server has no configuration to read again")
            try:
                return {"lines": self._reload()}
            except ConfigError as error:
                raise AdminError(409, f"nothing was changed: {error}") from None
        if endpoint == "server.handover":
            if self._hand_over is None:
                raise AdminError(409, "this server is in no group (-ft_group)")
            self._hand_over()
            return {"handed_over": True}
        if endpoint.startswith("outbox."):
            return await Parked(served).changing[endpoint](request)
        return await Changing(served).endpoints[endpoint](request)


def _describe(request: Mapping[str, Any]) -> str:
    """What was asked for, without what a message holds."""
    shown = dict(request)
    if "data" in shown:
        shown["data"] = f"{len(shown['data'])} characters"
    return " ".join([f"{name}={value}" for name, value in shown.items()])
