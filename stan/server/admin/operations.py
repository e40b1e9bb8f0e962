"""The operations by name: whoever asks, through whatever, comes through `run`.

Invariant: nothing is answered while this server does not serve.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from stan.errors import AdminError
from stan.server.admin.reading import Reading, Served
from stan.server.admin.settings import describe_options, describe_server, describe_store_limits


class Operations:
    """What can be asked of one server. `served` tells what serves now, None on a standby."""

    def __init__(
        self, served: Callable[[], Served | None], nats_url: Callable[[], str], mode: str = "read"
    ) -> None:
        self._served = served
        self._nats_url = nats_url
        self._mode = mode

    async def run(self, endpoint: str, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """Answer, or raise AdminError."""
        served = self._served()
        if served is None:
            raise AdminError(503, "this server stands by: ask the active one of its group")
        if endpoint == "server.info":
            return describe_server(served, self._mode, self._nats_url(), time.time_ns())
        if endpoint == "server.limits":
            return describe_store_limits(served)
        if endpoint == "server.config":
            return describe_options(served.config)
        answer = Reading(served).endpoints.get(endpoint)
        if answer is None:
            raise AdminError(404, f'there is no operation "{endpoint}"')
        return await answer(request)
