"""Connecting a command: from its flags to a connection, or to two lines that say why not."""

from typing import Any

import stan
from stan.cli.flags import Parsed
from stan.cli.text import complain
from stan.link.connecting import hide_password


async def connect_or_complain(
    parsed: Parsed, connection_lost_cb: stan.ConnectionLostCallback | None = None
) -> stan.Connection | None:
    """Connect as the flags say; None, after telling the user, when that is not possible."""
    nats_options: dict[str, Any] = {}
    if parsed["cr"]:
        nats_options["user_credentials"] = parsed["cr"]
    try:
        return await stan.connect(
            parsed["c"],
            parsed["id"],
            servers=parsed["s"],
            connection_lost_cb=connection_lost_cb,
            **nats_options,
        )
    except stan.StanError as error:
        complain(
            f"Can't connect: {error}.\n"
            f"Make sure a NATS Streaming Server is running at: {hide_password(parsed['s'])}"
        )
        return None
