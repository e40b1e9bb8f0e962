"""A streaming connection for a command of `stan`: where the options lead, as a client of its own.

Failures to connect are raised with the servers' names in them, for `main` to say.
"""

from typing import Any

import stan
from stan.cli.group import target
from stan.errors import ConnectError
from stan.link.connecting import hide_password


async def connect(client_id: str, **options: Any) -> stan.Connection:
    """Connect to the streaming server. Raises StanErrors."""
    at = target()
    try:
        return await stan.connect(
            at.cluster_id,
            client_id,
            servers=at.urls,
            connect_wait=at.timeout_s,
            nats_options=at.nats_options,
            **options,
        )
    except stan.ClientIDTakenError:
        raise
    except ConnectError as error:
        where = f'cluster "{at.cluster_id}" at {hide_password(at.servers)}'
        raise ConnectError(f"{error} ({where})") from None
