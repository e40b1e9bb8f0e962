"""Documents as a server gave them, and what must be masked before two are compared.

Run as a program it records the fixtures from a running server of the original, started
with the configuration `traffic.LIMITS_CONFIG` on an empty memory store:

    python -m tests.server.monitor.recording nats://127.0.0.1:4222 http://127.0.0.1:8222
"""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from .traffic import Traffic

FIXTURE = Path(__file__).with_name("fixtures") / "original.json"

PATHS = (
    "serverz",
    "serverz?callback=show",
    "storez",
    "clientsz",
    "clientsz?subs=1",
    "clientsz?subs=true",
    "clientsz?offset=1&limit=2",
    "clientsz?offset=-1&limit=-1",
    "clientsz?offset=10",
    "clientsz?client=beta",
    "clientsz?client=beta&subs=1",
    "clientsz?client=idle&subs=1",
    "clientsz?client=nobody",
    "clientsz?client=%3Cnobody%3E",
    "clientsz?client=",
    "channelsz",
    "channelsz?subs=1",
    "channelsz?subs=2",
    "channelsz?subs=1&offset=2&limit=1",
    "channelsz?offset=1&limit=2",
    "channelsz?offset=50",
    "channelsz?offset=abc&limit=0x10",
    "channelsz?limit=99999999999999999999",
    "channelsz?channel=foo",
    "channelsz?channel=foo&subs=1",
    "channelsz?channel=bar.one&subs=1",
    "channelsz?channel=zed&subs=1",
    "channelsz?channel=empty&subs=1",
    "channelsz?channel=with%26char&subs=1",
    "channelsz?channel=missing",
    "channelsz?channel=missing&callback=show",
    "isFTActive",
    "none",
    "",
)

_TIME = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"'
_MASKS = (
    (re.compile(rf'"(now|start_time)": {_TIME}'), r'"\1": "TIME"'),
    (re.compile(r'"server_id": "[0-9A-Za-z]{22}"'), '"server_id": "ID"'),
    (re.compile(r'"version": "[0-9][0-9A-Za-z.+]*"'), '"version": "VERSION"'),
    (re.compile(r'"go": "[a-z]+[0-9.]+"'), '"go": "LANGUAGE"'),
    (re.compile(r'"uptime": "(?:\d+[ydhms])+"'), '"uptime": "UPTIME"'),
    (re.compile(r'"(open_fds|max_fds)": \d+'), r'"\1": 1'),
    (re.compile(r'"ack_inbox": "_INBOX\.[0-9A-Za-z.]+"'), '"ack_inbox": "INBOX"'),
)


class Answer(NamedTuple):
    """An HTTP answer: status, content type and body."""

    status: int
    content_type: str
    body: str

    def masked(self) -> "Answer":
        """This answer without what differs from run to run. What has another form than the
        original's is not masked, and so is found by the comparison."""
        body = self.body
        for pattern, replacement in _MASKS:
            body = pattern.sub(replacement, body)
        return self._replace(body=body)


def read(url: str) -> Answer:
    """GET; an error status is an answer like any other."""
    try:
        with urlopen(url, timeout=20) as response:
            kind = response.headers.get("Content-Type", "")
            return Answer(response.status, kind, response.read().decode())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers.get("Content-Type", ""), error.read().decode())


async def record(nats_url: str, http_url: str) -> dict[str, Answer]:
    """Play the traffic and read every path while its clients are still there."""
    answers = {}
    async with Traffic(nats_url) as traffic:
        await traffic.play()
        for path in PATHS:
            answers[path] = await asyncio.to_thread(read, f"{http_url}/streaming/{path}")
    return answers


def recorded() -> dict[str, Answer]:
    """The fixtures."""
    return {path: Answer(*fields) for path, fields in json.loads(FIXTURE.read_text()).items()}


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps(asyncio.run(record(*sys.argv[1:3])), indent=1) + "\n")
