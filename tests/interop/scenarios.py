"""The scenarios that every client runs, and what each must observe.

The expectations were taken from the original server, v0.25.6: with it, every client observes
exactly this. A driver prints one JSON object a line; the lines must be these, in this order.
"""

import hashlib
from typing import Any

Observation = dict[str, Any]


def carried(data: bytes) -> Observation:
    """What a payload looks like when it came through untouched."""
    return {"bytes": len(data), "digest": hashlib.sha256(data).hexdigest(), "same": True}


SCENARIOS: dict[str, list[Observation]] = {
    "publish": [
        *({"acked": True} for _ in range(3)),
        {"sequence": 1, "data": "one", "redelivered": False},
        {"sequence": 2, "data": "two", "redelivered": False},
        {"sequence": 3, "data": "three", "redelivered": False},
    ],
    "publish_async": [{"acked": 100}, {"received": 100, "ordered": True}],
    "start_positions": [
        {"start": "all", "sequence": 1},
        {"start": "last", "sequence": 5},
        {"start": "sequence", "sequence": 3},
        {"start": "time", "sequence": 4},
        {"start": "delta", "sequence": 1},
        {"start": "new", "sequence": 6},
    ],
    "durable": [{"received": [1, 2, 3]}, {"resumed": [4, 5]}],
    "queue_group": [{"shares": [10, 10, 10], "distinct": 30}],
    "redelivery": [
        {"redelivered": False, "count": 0},
        {"redelivered": True, "count": 1},
        {"redelivered": True, "count": 2},
        {"after_ack": 0},
    ],
    "max_in_flight": [
        {"before_acks": [1, 2, 3, 4, 5], "more": 0},
        {"after_acks": [6, 7, 8, 9, 10]},
    ],
    "duplicate_id": [{"refused": "stan: clientID already registered"}],
    "replaced": [{"lost": "client has been replaced or is no longer registered"}],
    "unsubscribe": [
        {"received": [1, 2]},
        {"after_close": [3]},
        {"after_unsubscribe": [1, 2, 3]},
    ],
    "large": [carried(b"x" * (1024 * 1024 - 1024))],
    "binary": [carried(bytes(range(256)))],
    "many_channels": [{"acked": 1000}, {"received": 1000}],
}

# What a client does not show its users, and so cannot observe.
HIDDEN = {"java": {"count"}}


def expected(client: str, scenario: str) -> list[Observation]:
    """What this client must observe."""
    hidden = HIDDEN.get(client, set())
    return [
        {key: value for key, value in observation.items() if key not in hidden}
        for observation in SCENARIOS[scenario]
    ]


TITLES = {
    "publish": "synchronous publish, read back",
    "publish_async": "100 asynchronous publishes, acks by guid",
    "start_positions": "each start position",
    "durable": "durable: close, publish, resume",
    "queue_group": "queue group of three",
    "redelivery": "manual ack, redelivery and its count",
    "max_in_flight": "max-in-flight",
    "duplicate_id": "duplicate client ID",
    "replaced": "replaced client learns it by its ping",
    "unsubscribe": "close against unsubscribe",
    "large": "1 MB payload",
    "binary": "binary payload",
    "many_channels": "1,000 channels",
}
