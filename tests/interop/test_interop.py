"""Every client runs every scenario against the server and must observe what it always did."""

import asyncio
import secrets

import pytest

from tests.tools.streaming_server import StreamingServer

from .conftest import GetDriver
from .drivers import DRIVERS
from .scenarios import SCENARIOS, expected


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("client", DRIVERS)
async def test_client_observes_what_it_always_did(
    server: StreamingServer, get_driver: GetDriver, client: str, scenario: str
) -> None:
    driver = get_driver(client)
    prefix = f"{client}-{scenario}-{secrets.token_hex(4)}"
    observed = await asyncio.to_thread(
        driver.run, scenario, server.nats_url, server.cluster, prefix
    )
    assert observed == expected(client, scenario)
