"""How the members of a group say things to each other: small JSON objects.

Only the form; what is said is decided in `failover`. A member of a later version may say more.
"""

import json
from typing import Any


def encode(**words: str | int) -> bytes:
    """What is sent."""
    return json.dumps(words).encode()


def decode(word: bytes) -> dict[str, Any]:
    """What another member said; nothing for what is not understood."""
    try:
        words = json.loads(word)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


def number(words: dict[str, Any], name: str) -> int:
    """A number of those said, 0 when it was not."""
    value = words.get(name)
    return value if isinstance(value, int) else 0
