"""Connecting a command: its flags, and from them a connection or two lines that say why not."""

from typing import Any

import stan
from stan.cli.naming import own_client_id
from stan.cli.text import complain
from stan.flags import Flag, Parsed
from stan.link.connecting import hide_password

SERVER_URL = "nats://localhost:4222"


def connection_flags(client_id: str) -> list[Flag]:
    """The flags that say where to connect, as whom."""
    return [
        Flag(("s", "server"), "NATS server URL, or several with commas", SERVER_URL),
        Flag(("c", "cluster"), "cluster ID of the streaming server", "test-cluster"),
        Flag(("id", "clientid"), "client ID to connect with", client_id),
        Flag(("cr", "creds"), "credentials file for NATS", ""),
    ]


def client_id(parsed: Parsed, *, is_shared: bool = False) -> str:
    """The client ID that was given; otherwise one of our own, so that two terminals do not
    collide, unless the next run has to come back with the same."""
    if "id" in parsed.given or is_shared:
        return str(parsed["id"])
    return own_client_id(parsed["id"])


async def connect_or_complain(
    parsed: Parsed,
    own_id: str,
    connection_lost_cb: stan.ConnectionLostCallback | None = None,
) -> stan.Connection | None:
    """Connect as the flags say; None, after telling the user, when that is not possible."""
    nats_options: dict[str, Any] = {}
    if parsed["cr"]:
        nats_options["user_credentials"] = parsed["cr"]
    try:
        return await stan.connect(
            parsed["c"],
            own_id,
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
