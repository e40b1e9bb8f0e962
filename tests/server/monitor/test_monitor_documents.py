"""The documents agree with the original's: byte for byte, but for what no two runs share."""

import asyncio
import json
from typing import Any
from urllib.request import urlopen

from tests.server.monitor.conftest import Monitored
from tests.server.monitor.recording import PATHS, Answer, recorded

# The page for browsers is in our own words; what the paths below it say is not.
OURS = {""}


def types(value: Any) -> Any:
    """The shape of a document: its fields in order, each with its type."""
    if isinstance(value, dict):
        return [(name, types(one)) for name, one in value.items()]
    if isinstance(value, list):
        return [types(one) for one in value]
    return type(value).__name__


async def test_documents_equal_the_recorded_ones(played: Monitored) -> None:
    originals = recorded()
    assert set(originals) == set(PATHS)
    for path, original in originals.items():
        if path not in OURS:
            ours = await played.get(f"streaming/{path}")
            assert ours.masked() == original.masked(), path


async def test_types_of_what_is_masked(played: Monitored) -> None:
    for path in ("serverz", "storez", "clientsz?subs=1", "channelsz?subs=1"):
        ours = json.loads((await played.get(f"streaming/{path}")).body)
        original = json.loads(recorded()[path].body)
        assert types(ours) == types(original), path


async def test_masks_hide_no_other_form() -> None:
    body = '{"now": "2024-01-02 03:04:05", "server_id": "short", "ack_inbox": "elsewhere"}'
    answer = Answer(200, "application/json", body)
    assert answer.masked() == answer


async def test_headers(monitored: Monitored) -> None:
    opened = await asyncio.to_thread(urlopen, f"{monitored.url}/streaming/serverz", timeout=20)
    with opened as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Content-Type"] == "application/json"
        assert "Server" not in response.headers
