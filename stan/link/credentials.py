"""Who we are to NATS, from files: a user JWT with its nkey seed, or a seed alone.

Each is read again whenever NATS asks, so that a file may be replaced while we run, and
nothing secret is kept. What is wrong with a file is one line that names the file and
never its content: nats.errors.Error, which a reconnecting client survives. No network.
"""

import base64
import os
import re
from collections import UserString
from typing import Any

from nats.errors import Error

_JWT = re.compile(r"^\s*(eyJ[\w-]*\.[\w-]+\.[\w-]+)\s*$", re.MULTILINE)
_SEED = re.compile(r"^\s*(S[A-Z][A-Z2-7]{56})\s*$", re.MULTILINE)

Source = str | os.PathLike[str] | UserString
"""A file by its path, or what it would hold, as a UserString."""


class UserCredentials:
    """A credentials file, or a file with the JWT and one with the seed."""

    def __init__(self, source: Source | tuple[Source, Source]) -> None:
        self._jwt, self._seed = source if isinstance(source, tuple) else (source, source)

    def options(self) -> dict[str, Any]:
        """The keyword arguments for nats-py's connect. Raises nats.errors.Error and ImportError
        when it is clear already that these credentials open nothing."""
        self.jwt()
        self.sign("")
        return {"user_jwt_cb": self.jwt, "signature_cb": self.sign}

    def jwt(self) -> bytes:
        """The user JWT. Raises nats.errors.Error."""
        return _find(_JWT, self._jwt, "user JWT").encode()

    def sign(self, nonce: str) -> bytes:
        """The signature that NATS asks for. Raises nats.errors.Error."""
        return _sign(_key_pair(self._seed), nonce)


class Nkey:
    """An nkey seed, with or without the lines that NATS tools put around it."""

    def __init__(self, source: Source) -> None:
        self._seed = source

    def public(self) -> str:
        """The public key. Raises nats.errors.Error and ImportError."""
        pair = _key_pair(self._seed)
        public: bytes = pair.public_key
        pair.wipe()
        return public.decode()

    def sign(self, nonce: str) -> bytes:
        """The signature that NATS asks for. Raises nats.errors.Error."""
        return _sign(_key_pair(self._seed), nonce)


def _key_pair(source: Source) -> Any:
    import nkeys  # slow to import, and few need it

    seed = _find(_SEED, source, "nkey seed")
    try:
        return nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError):
        raise Error(f"nats: the nkey seed in {_name(source)} is not valid") from None


def _sign(pair: Any, nonce: str) -> bytes:
    signature: bytes = pair.sign(nonce.encode())
    pair.wipe()
    return base64.b64encode(signature)


def _find(pattern: re.Pattern[str], source: Source, what: str) -> str:
    found = pattern.search(_read(source))
    if found is None:
        raise Error(f"nats: there is no {what} in {_name(source)}")
    return found[1]


def _read(source: Source) -> str:
    if isinstance(source, UserString):
        return source.data
    try:
        with open(source, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise Error(f"nats: cannot read {source}: {error.strerror}") from None


def _name(source: Source) -> str:
    return "the text given" if isinstance(source, UserString) else str(source)
