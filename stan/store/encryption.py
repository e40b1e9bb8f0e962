"""Payloads encrypted at rest, in the original server's format, byte for byte.

A stored payload is an algorithm byte, a 12-byte nonce, the ciphertext and a 16-byte tag;
each channel has a key of its own. An empty payload stays empty, and one whose first byte
is no algorithm's was stored before encryption was turned on. Nothing here knows rows,
databases or options. Invariants: a process uses no nonce twice with a key, two processes
only by a chance of one in 2**32; the operator's key is not kept, and neither it nor what
is made of it is ever in an error.
"""

import platform
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from secrets import token_bytes
from threading import Lock

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from stan.errors import ConfigError, StoreRefusedError

_Aead = AESGCM | ChaCha20Poly1305

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES
"""What encryption adds to a payload that is not empty."""

_ALGORITHMS: dict[str, tuple[int, type[_Aead]]] = {
    "AES": (1, AESGCM),
    "CHACHA": (2, ChaCha20Poly1305),
}
_BY_FIRST_BYTE = dict(_ALGORITHMS.values())
# How far a nonce's number may be from its message's sequence: commits that failed took some,
# and the original gives none to empty payloads.
_NONCE_DRIFT = 1 << 20
# Processors that are known to have instructions for AES.
_X86 = frozenset({"x86_64", "amd64", "i386", "i486", "i586", "i686", "x86"})
# Channels whose ciphers are held, some 2 KB each; another one costs about 10 us.
_CHANNELS_HELD = 4096


class Encryption:
    """Encrypts and decrypts the payloads of all channels with one key.

    `cipher` is AES or CHACHA in any case; empty: AES on x86, otherwise CHACHA. Either
    reads what the other wrote. Safe to use from several threads. Raises ConfigError.
    """

    overhead_bytes: int = OVERHEAD_BYTES

    def __init__(self, key: str, cipher: str = "") -> None:
        if not key:
            raise ConfigError("encryption key required", "encrypt")
        self.cipher: str = cipher.upper() or default_cipher()
        if self.cipher not in _ALGORITHMS:
            raise ConfigError("encryption cipher not supported", "encryption_cipher")
        self._first_byte, algorithm = _ALGORITHMS[self.cipher]
        # A key may hold any bytes, which Python shows as lone surrogates.
        self._master = sha256(key.encode(errors="surrogateescape")).digest()
        try:
            algorithm(self._master)
        except UnsupportedAlgorithm:  # OpenSSL may be restricted to what FIPS knows
            raise ConfigError(
                f"this machine's OpenSSL does not offer {self.cipher}", "encryption_cipher"
            ) from None
        self._channels: OrderedDict[str, _ChannelCipher] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Encryption({self.cipher})"

    def encrypt(self, channel: str, last_sequence: int, payloads: Sequence[bytes]) -> list[bytes]:
        """What to store of these payloads, which follow `last_sequence` in their channel."""
        return self._open(channel).encrypt(self._first_byte, last_sequence, payloads)

    def decrypt(self, channel: str, data: bytes, sequence: int = 0) -> bytes:
        """The payload of what was stored.

        Raises StoreRefusedError, naming channel and sequence, for another key's data and
        for damaged data.
        """
        if not data or data[0] not in _BY_FIRST_BYTE:
            return data
        try:
            return self._open(channel).decrypt(data)
        except (InvalidTag, ValueError, UnsupportedAlgorithm):
            # Nothing of the cause is passed on: the operator knows what to look for.
            raise StoreRefusedError(
                f'message {sequence} of channel "{channel}" cannot be decrypted:'
                " wrong encryption key, or damaged data"
            ) from None

    def _open(self, channel: str) -> "_ChannelCipher":
        """The channel's cipher; the one not used for longest makes room for a new one."""
        with self._lock:
            held = self._channels.get(channel)
            if held is not None:
                self._channels.move_to_end(channel)
                return held
            opened = self._channels[channel] = _ChannelCipher(channel_key(self._master, channel))
            if len(self._channels) > _CHANNELS_HELD:
                self._channels.popitem(last=False)
            return opened


class _ChannelCipher:
    """One channel's key, and the next nonce as a number: 0 until the first encryption."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aeads: dict[int, _Aead] = {}
        self._next_nonce = 0
        self._lock = Lock()

    def encrypt(
        self, first_byte: int, last_sequence: int, payloads: Sequence[bytes]
    ) -> list[bytes]:
        first_nonce = self._take_nonces(last_sequence, len(payloads))
        seal = partial(self._aead(first_byte).encrypt, associated_data=None)
        head = bytes((first_byte,))
        stored: list[bytes] = []
        for number, payload in enumerate(payloads, first_nonce):
            if payload:
                nonce = number.to_bytes(NONCE_BYTES, "big")
                stored.append(b"".join((head, nonce, seal(nonce, payload))))
            else:
                stored.append(payload)
        return stored

    def decrypt(self, data: bytes) -> bytes:
        """Raises InvalidTag, or ValueError for less than a nonce and a tag."""
        nonce_end = 1 + NONCE_BYTES
        return self._aead(data[0]).decrypt(data[1:nonce_end], data[nonce_end:], None)

    def _take_nonces(self, last_sequence: int, count: int) -> int:
        """The first of `count` nonces that nobody else gets.

        A cipher starts with four random bytes and then the next sequence, so that even the
        same random bytes only repeat a nonce for a sequence that is encrypted again.
        """
        with self._lock:
            if not self._next_nonce:
                start = token_bytes(NONCE_BYTES - 8) + (last_sequence + 1).to_bytes(8, "big")
                self._next_nonce = int.from_bytes(start, "big")
            first = self._next_nonce
            self._next_nonce += count
        return first

    def _aead(self, first_byte: int) -> _Aead:
        aead = self._aeads.get(first_byte)
        if aead is None:
            aead = self._aeads[first_byte] = _BY_FIRST_BYTE[first_byte](self._key)
        return aead


def channel_key(master: bytes, channel: str) -> bytes:
    """The 32 bytes that encrypt a channel.

    The zeros in front are the original's: it framed its buffer for what it meant to hash
    and then appended to it.
    """
    name = channel.encode(errors="surrogatepass")
    return sha256(bytes(len(master) + 1 + len(name)) + master + b"." + name).digest()


def looks_encrypted(data: bytes, sequence: int) -> bool:
    """Whether this stored payload is very probably encrypted: it begins like one, and has a
    nonce whose number is close to the sequence."""
    if len(data) <= OVERHEAD_BYTES or data[0] not in _BY_FIRST_BYTE:
        return False
    number = int.from_bytes(data[1 + NONCE_BYTES - 8 : 1 + NONCE_BYTES], "big")
    return abs(number - sequence) < _NONCE_DRIFT


def default_cipher() -> str:
    """What the original chooses on this machine."""
    return "AES" if platform.machine().lower() in _X86 else "CHACHA"
