"""Encryption by itself: the original's bytes, nonces, and what is not encrypted."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from stan.errors import ConfigError, StoreRefusedError
from stan.store import encryption
from stan.store.encryption import OVERHEAD_BYTES, Encryption

KEY = "correct horse"
# Written by nats-streaming-server v0.25.6 (-st FILE -encrypt -encryption_key "correct horse",
# once with each -encryption_cipher) and cut out of msgs.1.dat: the data field of a MsgProto.
BY_THE_ORIGINAL = (
    (
        "foo",
        b"hello, rest",
        "017269eb7900000000000000017cbb6621779ee6f5bfc64a3f462066a255e62e2377763be8985fd5",
    ),
    (
        "foo",
        b"hello, rest",
        "021d5f208a0000000000000003935e26f1b768b9971aab3cb52695cd7994a0416316a0a2938b56e8",
    ),
    (
        "grüße.1",
        b"second channel",
        "01a8d14d89000000000000000153d001465f1e3e839acde700cb3b352b8bf68615d82c014d27d076593ab6",
    ),
    (
        "grüße.1",
        b"second channel",
        "02365106df0000000000000002af3426a51d9fba07fc4631d23dc65d58336321c8c9fe268124b6c2af29e7",
    ),
)


@pytest.mark.parametrize(("channel", "payload", "stored"), BY_THE_ORIGINAL)
def test_what_the_original_wrote_can_be_read_104(channel: str, payload: bytes, stored: str) -> None:
    assert Encryption(KEY).decrypt(channel, bytes.fromhex(stored), 1) == payload


@pytest.mark.parametrize(("channel", "payload", "stored"), BY_THE_ORIGINAL)
def test_the_same_nonce_gives_the_originals_bytes(
    channel: str, payload: bytes, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = bytes.fromhex(stored)
    monkeypatch.setattr(encryption, "token_bytes", lambda size: blob[1 : 1 + size])
    cipher = "AES" if blob[0] == 1 else "CHACHA"
    last_sequence = int.from_bytes(blob[5:13], "big") - 1

    assert Encryption(KEY, cipher).encrypt(channel, last_sequence, [payload]) == [blob]


@pytest.mark.parametrize("cipher", ["AES", "CHACHA", "aes", "ChaCha"])
def test_either_cipher_reads_what_the_other_wrote(cipher: str) -> None:
    payloads = [b"one", b"", b"\x01two", bytes(70_000)]
    stored = Encryption(KEY, cipher).encrypt("foo", 0, payloads)

    assert [len(data) for data in stored] == [
        len(payload) + OVERHEAD_BYTES if payload else 0 for payload in payloads
    ]
    for other in ("AES", "CHACHA"):
        reader = Encryption(KEY, other)
        assert [reader.decrypt("foo", data, 1) for data in stored] == payloads


def test_plain_payloads_of_before_stay_as_they_are() -> None:
    plain = [b"", b"text", b"\x00", b"\x03\x00", b"\xff" * 40]
    encryption = Encryption(KEY)

    assert [encryption.decrypt("foo", data, 1) for data in plain] == plain


def test_nonces_are_random_bytes_and_the_sequence() -> None:
    encryption = Encryption(KEY)
    stored = encryption.encrypt("foo", 41, [b"a", b"", b"b"]) + encryption.encrypt(
        "foo", 44, [b"c"]
    )

    assert [int.from_bytes(data[5:13], "big") for data in stored if data] == [42, 44, 45]
    assert len({data[1:5] for data in stored if data}) == 1
    again = Encryption(KEY).encrypt("foo", 41, [b"a"])[0]
    assert again[5:13] == stored[0][5:13]
    assert again != stored[0], "the four random bytes make it another nonce"


def test_nonces_never_repeat_when_sequences_do() -> None:
    encryption = Encryption(KEY)
    stored = [encryption.encrypt("foo", 0, [b"a", b"b"]) for _ in range(20)]  # commits that failed

    nonces = {data[1:13] for pair in stored for data in pair}
    assert len(nonces) == 40


def test_threads_never_share_a_nonce() -> None:
    encryption = Encryption(KEY)
    with ThreadPoolExecutor(8) as threads:
        batches = list(threads.map(lambda _: encryption.encrypt("foo", 0, [b"x"] * 50), range(40)))

    assert len({data[1:13] for batch in batches for data in batch}) == 2000


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:13] + bytes([data[13] ^ 1]) + data[14:],
        lambda data: data[:12],
        lambda data: data[:1],
        lambda data: b"\x02" + data[1:],
    ],
    ids=["cut", "flipped", "short", "one byte", "other algorithm"],
)
def test_damage_is_an_error_that_names_the_message(damage) -> None:  # type: ignore[no-untyped-def]
    encryption = Encryption(KEY, "AES")
    stored = damage(encryption.encrypt("foo.bar", 6, [b"payload"])[0])

    with pytest.raises(StoreRefusedError) as caught:
        encryption.decrypt("foo.bar", stored, 7)
    assert str(caught.value) == (
        'message 7 of channel "foo.bar" cannot be decrypted: wrong encryption key, or damaged data'
    )


def test_another_key_and_another_channel_are_errors() -> None:
    stored = Encryption(KEY).encrypt("foo", 0, [b"payload"])[0]

    for other, channel in ((Encryption("other"), "foo"), (Encryption(KEY), "bar")):
        with pytest.raises(StoreRefusedError) as caught:
            other.decrypt(channel, stored, 1)
        assert KEY not in str(caught.value)
        assert "other" not in str(caught.value)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^encryption key required$"):
        Encryption("")
    with pytest.raises(ConfigError, match=r"^encryption cipher not supported$"):
        Encryption(KEY, "DES")


def test_the_default_cipher_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {}
    for machine in ("x86_64", "AMD64", "i686", "aarch64", "arm64", "riscv64"):
        monkeypatch.setattr(encryption.platform, "machine", lambda machine=machine: machine)
        chosen[machine] = Encryption(KEY).cipher

    assert chosen == {
        "x86_64": "AES",
        "AMD64": "AES",
        "i686": "AES",
        "aarch64": "CHACHA",
        "arm64": "CHACHA",
        "riscv64": "CHACHA",
    }


def test_the_key_does_not_stay() -> None:
    encryption = Encryption(KEY)
    encryption.encrypt("foo", 0, [b"payload"])

    assert KEY not in repr(encryption)
    assert KEY not in repr(vars(encryption))


def test_channels_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "_CHANNELS_HELD", 3)
    bounded = Encryption(KEY)
    stored = {f"c{n}": bounded.encrypt(f"c{n}", 0, [b"first"])[0] for n in range(10)}
    again = {name: bounded.encrypt(name, 1, [b"second"])[0] for name in stored}

    assert len(bounded._channels) == 3
    assert {bounded.decrypt(name, data) for name, data in stored.items()} == {b"first"}
    assert {bounded.decrypt(name, data) for name, data in again.items()} == {b"second"}
    assert all(stored[name][1:13] != data[1:13] for name, data in again.items())
