"""Identifiers that nobody else has: connection IDs, server IDs and the stem of publish guids.

Letters and digits only, 22 characters as NATS clients use. Randomness is drawn here and
handed on from here, so that the client's session and the engine stay deterministic.
"""

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters
GUID_STEM_CHARS = 12


def new_id(chars: int = 22) -> str:
    """A fresh random identifier of that many letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(chars))
