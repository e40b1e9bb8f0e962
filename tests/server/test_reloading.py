"""What a changed configuration file comes to: adopted, waiting for a restart, or refused."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.config.config import Config, load_config
from stan.server.config.reloading import Reloading, read_again

Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The configuration of a file with this text, and of the flag -mb."""
    path = tmp_path / "stan.conf"

    def load(text: str) -> Config:
        path.write_text(text)
        return load_config(["-sc", str(path), "-mb", "5000"], {})

    return load


def lines(old: Config, new: Config) -> list[str]:
    """What is said about the change, with its level."""
    found = Reloading(old, new).describe()
    return [f"{logging.getLevelName(level)} {line}" for level, line in found]


def test_nothing_changes(load: Load) -> None:
    text = "store_limits { max_msgs: 5, channels { foo { max_msgs: 1 } } }"
    reloading = Reloading(load(text), load(text))
    assert reloading.describe() == [(logging.INFO, "Reloaded the configuration: no change")]
    assert not reloading.changes_limits


def test_limits_and_levels_are_adopted(load: Load) -> None:
    old = load("store_limits { max_msgs: 5, max_age: 1h }\nsd: true")
    new = load("store_limits { max_msgs: 7, max_subs: 3, max_inactivity: 10s, mc: 0 }\nsv: true")
    reloading = Reloading(old, new)
    assert reloading.changes_limits
    assert lines(old, new) == [
        "INFO Reloaded store_limits.max_channels: 0 (was 100)",
        "INFO Reloaded store_limits.max_subs: 3 (was 1000)",
        "INFO Reloaded store_limits.max_msgs: 7 (was 5)",
        "INFO Reloaded store_limits.max_age: 0s (was 1h0m0s)",
        "INFO Reloaded store_limits.max_inactivity: 10s (was 0s)",
        "INFO Reloaded stan_debug: false (was true)",
        "INFO Reloaded stan_trace: true (was false)",
        "INFO Reloaded the configuration",
    ]
    assert reloading.effective.limits == new.limits
    assert (reloading.effective.stan_trace, reloading.effective.stan_debug) == (True, False)


def test_flags_beat_the_changed_file(load: Load) -> None:
    old, new = load(""), load("store_limits { max_bytes: 1KB }")
    assert lines(old, new) == ["INFO Reloaded the configuration: no change"]
    assert Reloading(old, new).effective.max_bytes == 5000


def test_limits_of_channels_are_named_one_by_one(load: Load) -> None:
    old = load("limits { channels { a { mm: 5 }, b { mm: 1, mi: 5s }, c { mm: 1 } } }")
    new = load('limits { channels { a { mm: 6, mb: 2KB }, b { mm: 1 }, "d.>" { ma: 0s } } }')
    assert lines(old, new) == [
        "INFO Reloaded limits of a: max_msgs: 6 (was 5)",
        "INFO Reloaded limits of a: max_bytes: 2048 (was inherited)",
        "INFO Reloaded limits of b: max_inactivity: inherited (was 5s)",
        "INFO Reloaded limits of c: max_msgs: inherited (was 1)",
        "INFO Reloaded limits of d.>: max_age: 0s (was inherited)",
        "INFO Reloaded the configuration",
    ]
    assert Reloading(old, new).changes_limits


def test_what_needs_a_restart_is_named_and_stays(load: Load) -> None:
    old, new = load("cluster_id: a\npass: old"), load("cluster_id: b\nhbi: 5s\npass: secret")
    assert lines(old, new) == [
        "WARNING cluster_id is b in the configuration: it stays a until a restart",
        "WARNING hb_interval is 5s in the configuration: it stays 30s until a restart",
        "WARNING password has changed in the configuration: that takes a restart",
        "INFO Reloaded the configuration",
    ]
    effective = Reloading(old, new).effective
    assert (effective.cluster_id, effective.password) == ("a", "old")
    assert effective.heartbeat_interval_ns == 30_000_000_000


def test_new_options_without_effect_are_answered(load: Load) -> None:
    old, new = load("file { sync: true }"), load("file { sync: true, auto_sync: 1s }")
    (warning, _) = lines(old, new)
    assert warning.startswith("WARNING -file_auto_sync has no effect")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("store_limits {\n  max_msgs: x\n}", ':2: parameter "max_msgs" value is expected'),
        ("\nlimits { mm: -1 }", ':2: parameter "mm": max messages limit cannot be negative (-1)'),
        ('sd: yes\nlimits {\n  ma: "-5s"\n}', ':3: parameter "ma": max age limit cannot be'),
        (
            "limits {\n mc: 1\n channels {\n  a { }\n  b { }\n } }",
            ':2: parameter "mc": too many channels defined (2)',
        ),
        (
            'limits { channels {\n  "a.*b" { mm: 1 }\n} }',
            ':2: parameter "a.*b": invalid channel name "a.*b"',
        ),
        ('cluster_id: "a b"', ':1: parameter "cluster_id": invalid cluster ID "a b"'),
        ("id: x\nhbi: 0s", ':2: parameter "hbi": hb_interval must be above zero'),
        ("sql {\n durability: x }", ':2: parameter "durability": durability is full, normal'),
        ("log_format: x", ':1: parameter "log_format": log_format is text or json'),
        ("streaming {", ":1: "),
    ],
)
def test_an_error_names_file_line_and_key(load: Load, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_again(lambda: load(text))
    assert f"stan.conf{error}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*/none\.conf: No such file"):
        read_again(lambda: load_config(["-sc", str(tmp_path / "none.conf")], {}))


def test_what_the_nats_part_sets_is_compared(load: Load) -> None:
    old = load("debug: true\nhttp: 8222\nstreaming { id: a }")
    new = load("http: 8223\nstreaming { id: a }")
    assert lines(old, new) == [
        "INFO Reloaded debug: false (was true)",
        "WARNING http_port is 8223 in the configuration: it stays 8222 until a restart",
        "INFO Reloaded the configuration",
    ]
