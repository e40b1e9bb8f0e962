"""Which key and cipher are in effect, and that the key shows nowhere."""

from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.config.config import Config, format_config, load_config

VARIABLE = "NATS_STREAMING_ENCRYPTION_KEY"
SQL = ["-st", "SQL", "--sql_source", "x.db"]


def load(
    *arguments: str, environment: str = "", file: Path | None = None, text: str = ""
) -> Config:
    named = []
    if file is not None:
        file.write_text(f"streaming {{ {text} }}")
        named = ["-sc", str(file)]
    return load_config([*SQL, *named, *arguments], {VARIABLE: environment} if environment else {})


def test_nothing_is_encrypted_by_default() -> None:
    config = load()
    assert config.open_encryption() is None
    assert not config.delivers_encrypted
    assert config.warnings == []


def test_the_environments_key_comes_first(tmp_path: Path) -> None:
    text = 'encrypt: true, encryption_key: "of the file"'
    conf = tmp_path / "stan.conf"
    assert load("-encrypt", environment="e").encryption_key == "e"
    assert load("-encryption_key", "f", environment="e").encryption_key == "e"
    assert load("-encryption_key", "f", file=conf, text=text).encryption_key == "f"
    assert load(file=conf, text=text).encryption_key == "of the file"
    assert load(file=conf, text=text, environment="e").encryption_key == "e"


def test_a_key_that_is_written_down_turns_encryption_on(tmp_path: Path) -> None:
    conf = tmp_path / "stan.conf"
    assert load("-encryption_key", "k").encrypt
    assert load(file=conf, text="encryption_key: k").encrypt
    assert load(file=conf, text="encryption_key: k, encrypt: false").encrypt
    assert not load("-encryption_key", "").encrypt


@pytest.mark.parametrize(
    ("arguments", "environment"), [([], "key"), (["-encryption_cipher", "AES"], "")]
)
def test_a_key_in_the_environment_alone_is_answered(arguments: list[str], environment: str) -> None:
    config = load(*arguments, environment=environment)
    assert not config.encrypt
    assert config.warnings == [
        "Payloads are not encrypted: a key or a cipher is set, but -encrypt is not"
    ]
    assert load("-encrypt=false", *arguments, environment=environment).warnings == []


def test_key_and_cipher_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^encryption key required$"):
        load("-encrypt").check()
    with pytest.raises(ConfigError, match=r"^encryption cipher not supported$"):
        load("-encryption_key", "k", "-encryption_cipher", "DES").check()
    config = load("-encryption_key", "k", "-encryption_cipher", "chacha")
    config.check()
    encryption = config.open_encryption()
    assert encryption is not None
    assert encryption.cipher == "CHACHA"


def test_memory_is_not_encrypted_and_says_so() -> None:
    config = load_config(["-encryption_key", "k"], {})
    config.check()
    assert config.warnings == [
        "Encryption has no effect: messages are kept in memory only, nothing is at rest"
    ]
    with pytest.raises(ConfigError, match="not supported"):
        load_config(["-encryption_key", "k", "-encryption_cipher", "DES"], {}).check()


def test_only_an_operator_who_says_so_gets_ciphertext_delivered() -> None:
    assert load("-encrypt=false").delivers_encrypted
    assert not load("-encrypt=false", "-encryption_key", "k").delivers_encrypted


def test_the_key_shows_nowhere() -> None:
    config = load("-encryption_key", "correct horse")
    assert "encryption_key: (hidden)" in format_config(config)
    assert "encrypt: true\n" in format_config(config)
    assert "horse" not in format_config(config) + repr(config)
