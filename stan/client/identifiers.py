"""Identifiers that nobody else has: connection IDs and the stem of publish guids.

Letters and digits only, 22 characters as NATS clients use. Randomness is drawn here and
nowhere else in the client, so that the session stays deterministic.
"""

import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
GUID_STEM_CHARS = 12


def new_id(chars: int = 22) -> str:
    """A fresh random identifier of that many letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(chars))
