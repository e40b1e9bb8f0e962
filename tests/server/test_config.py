"""The merged configuration: every option by flag and by key, precedence, and errors."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stan.engine.limits import ChannelLimits, ChannelOverrides
from stan.errors import ConfigError
from stan.server.config.config import Config, format_config, load_config
from stan.server.config.declaring import Kind, Option
from stan.server.config.options import OPTIONS

_SAMPLES: dict[Kind, tuple[str, str, Any]] = {
    Kind.TEXT: ("abc", '"abc"', "abc"),
    Kind.INTEGER: ("7", "7", 7),
    Kind.BOOLEAN: ("true", "true", True),
    Kind.DURATION: ("1m30s", '"1m30s"', 90_000_000_000),
    Kind.SIZE: ("2KB", "2KB", 2048),
}
_TYPES = {Kind.TEXT: str, Kind.INTEGER: int, Kind.BOOLEAN: bool, Kind.DURATION: int, Kind.SIZE: int}
# These two have a fixed set of values or end the parsing early.
_SPECIAL = {"store", "stan_config", "nats_config", "help", "version", "help_tls"}
_PLAIN = [o for o in OPTIONS if not o.ignored and not o.refused and o.field not in _SPECIAL]


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "stan.conf"
    path.write_text(text)
    return str(path)


def nested(key: str, value: str) -> str:
    block, _, name = key.rpartition(".")
    return f"{block} {{ {name}: {value} }}" if block else f"{name}: {value}"


def test_an_option_has_an_attribute_of_its_type_exactly_if_it_means_something() -> None:
    known = {field.name: field.type for field in dataclasses.fields(Config)}
    for option in OPTIONS:
        if option.ignored or option.refused:
            assert option.field not in known
        else:
            assert known.pop(option.field) is _TYPES[option.kind]
    assert set(known) == {"channels", "given", "commanded", "warnings", "places"}


def test_no_secret_is_in_the_configuration_as_python_shows_it() -> None:
    secrets = [option for option in OPTIONS if option.secret]
    arguments = [f"-{one.flags[0]}=hush-{one.field}" for one in secrets if one.flags]
    environment = {one.environment: "hush" for one in secrets if not one.flags}
    assert len(secrets) == 5
    assert "hush" not in repr(load_config(arguments, environment))


def test_no_flag_and_no_key_is_declared_twice() -> None:
    flags = [flag for option in OPTIONS for flag in option.flags]
    keys = [key for option in OPTIONS for key in option.keys]
    assert len(flags) == len(set(flags))
    assert len(keys) == len(set(keys))


def test_defaults_are_those_of_the_protocol() -> None:
    config = load_config([], {})
    assert (config.cluster_id, config.discover_prefix) == ("test-cluster", "_STAN.discover")
    assert (config.store, config.port, config.address) == ("MEMORY", 4222, "0.0.0.0")
    assert config.heartbeat_interval_ns == 30_000_000_000
    assert config.heartbeat_timeout_ns == 10_000_000_000
    assert config.heartbeat_fail_count == 10
    assert config.limits.defaults == ChannelLimits()
    assert config.limits.max_channels == 100
    config.check()


@pytest.mark.parametrize("option", _PLAIN, ids=lambda option: option.field)
def test_every_flag_is_read(option: Option) -> None:
    text, _, expected = _SAMPLES[option.kind]
    implied = {"encrypt"} if option.field == "encryption_key" else set()
    for flag in option.flags:
        for arguments in ([f"-{flag}={text}"], [f"--{flag}", text]):
            config = load_config(arguments, {})
            assert getattr(config, option.field) == expected
            assert config.given == {option.field} | implied


@pytest.mark.parametrize("option", _PLAIN, ids=lambda option: option.field)
def test_every_key_is_read_whatever_its_case(option: Option, tmp_path: Path) -> None:
    _, text, expected = _SAMPLES[option.kind]
    for key in option.keys:
        path = write(tmp_path, f"streaming {{ {nested(key.upper(), text)} }}")
        config = load_config(["-sc", path], {})
        assert getattr(config, option.field) == expected
        path = write(tmp_path, nested(key, text))
        assert getattr(load_config(["-c", path], {}), option.field) == expected


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.ignored], ids=lambda o: o.field)
def test_options_without_meaning_are_answered_with_a_warning(option: Option) -> None:
    text = _SAMPLES[option.kind][0]
    for flag in option.flags:
        config = load_config([f"-{flag}", text], {})
        assert config.warnings == [f"-{option.flags[-1]} has no effect: {option.ignored}"]


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.refused], ids=lambda o: o.field)
def test_options_that_would_break_a_promise_are_refused(option: Option, tmp_path: Path) -> None:
    text, in_file, _ = _SAMPLES[option.kind]
    for flag in option.flags:
        with pytest.raises(ConfigError, match=option.refused):
            load_config([f"-{flag}", text], {})
    for key in option.keys:
        path = write(tmp_path, f"streaming {{ {nested(key, in_file)} }}")
        with pytest.raises(ConfigError, match=option.refused):
            load_config(["-sc", path], {})


def test_a_cluster_block_for_streaming_is_refused_and_that_of_nats_is_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clustering by Raft"):
        load_config(["-sc", write(tmp_path, "streaming { cluster { } }")], {})
    path = write(tmp_path, "cluster { name: x, port: 6222 }\nstreaming { id: a }")
    assert load_config(["-sc", path], {}).cluster_id == "a"


def test_boolean_flags_stand_alone_or_take_a_word() -> None:
    assert load_config(["-SD", "-replace_durable", "true", "-SV=false"], {}).stan_debug
    config = load_config(["--replace_durable", "-SD", "false", "-cid", "x"], {})
    assert (config.replace_durable, config.stan_debug, config.cluster_id) == (True, False, "x")


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "sql { source: 'file' }\nid: file")
    environment = {"STAN_SQL_SOURCE": "environment"}
    assert load_config(["-sc", path], {}).sql_source == "file"
    assert load_config(["-sc", path], environment).sql_source == "environment"
    config = load_config(["-sc", path, "-sql_source", "flag", "-cid=flag"], environment)
    assert (config.sql_source, config.cluster_id) == ("flag", "flag")


def test_one_file_serves_both(tmp_path: Path) -> None:
    path = write(tmp_path, "port: 5222\nstreaming { id: a }")
    assert load_config(["-sc", path], {}).nats_config == path
    assert load_config(["-c", path], {}).cluster_id == "a"
    other = tmp_path / "other.conf"
    other.write_text("port: 6222")
    config = load_config(["-sc", path, "-c", str(other)], {})
    assert (config.cluster_id, config.nats_config, config.port) == ("a", str(other), 6222)
    with pytest.raises(ConfigError, match=r"cannot read /nonexistent/x\.conf"):
        load_config(["-sc", path, "-c", "/nonexistent/x.conf"], {})


def test_limits_per_channel_are_read_with_their_aliases(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        store: "SQL"
        limits {
          mc: 10, msu: 11, mm: 12, mb: 13KB, ma: "14s", mi: "15m"
          per_channel {
            "foo.>": { max_count: 0, maxbytes: 1MB, ma: "1h" }
            bar { maxsubs: -1, max_inactivity: "0s" }
          }
        }
        """,
    )
    config = load_config(["-sc", path, "-mc", "20"], {})
    assert config.store == "SQL"
    assert config.limits.max_channels == 20
    assert config.limits.defaults == ChannelLimits(
        11, 12, 13 * 1024, 14_000_000_000, 900_000_000_000
    )
    assert config.channels == {
        "foo.>": ChannelOverrides(None, 0, 1 << 20, 3_600_000_000_000, None),
        "bar": ChannelOverrides(-1, None, None, None, 0),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extra"], 'unrecognized command: "extra"'),
        (["-cidd", "x"], "flag provided but not defined: -cidd (did you mean -cid?)"),
        (["-qqqq"], "flag provided but not defined: -qqqq"),
        (["-cid"], "flag needs an argument: -cid"),
        (["-mc", "abc"], "invalid value for -mc: 'abc' is not a whole number"),
        (["-ma", "5"], "invalid value for -ma: invalid duration '5'"),
        (["-mb", "xx"], "invalid value for -mb: invalid size 'xx'"),
        (["-SD=maybe"], "invalid value for -SD: 'maybe' is neither true nor false"),
        (["-st", "foo"], "unsupported store type: FOO"),
        (["-st", "file"], "this server has no FILE store: use -st SQL"),
        (["-sc", "/nonexistent/x.conf"], "cannot read /nonexistent/x.conf: No such file"),
    ],
)
def test_wrong_command_lines_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(arguments, {})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: 5", ':1: parameter "id" value is expected to be string, got int64'),
        ("a: 1\nmc: 'x'\n", None),
        (
            "limits {\n max_channels: 'x' }",
            ':2: parameter "max_channels" value is expected to be int64, got string',
        ),
        ("hbi: 5", ':1: parameter "hbi" value is expected to be string, got int64'),
        ("hbi: '5'", ':1: parameter "hbi": invalid duration'),
        ("sd: 1.5", ':1: parameter "sd" value is expected to be bool, got float64'),
        ("limits: 5", ':1: parameter "limits" value is expected to be map, got int64'),
        ("sql: []", ':1: parameter "sql" value is expected to be map, got array'),
        (
            "limits { channels { foo: 1 } }",
            ':1: parameter "foo" value is expected to be map, got int64',
        ),
        (
            "limits { channels { foo { mm: '1' } } }",
            ':1: parameter "mm" value is expected to be int64, got string',
        ),
        ("streaming: 1", ':1: parameter "streaming" value is expected to be map, got int64'),
        ("store: foo", "unknown store type: foo"),
        ("unknown_key: { x: 1 }", None),
    ],
)
def test_wrong_files_are_named(text: str, message: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    if message is None:
        assert load_config(["-sc", path], {}).given == {"stan_config"}
        return
    with pytest.raises(ConfigError) as caught:
        load_config(["-sc", path], {})
    assert str(caught.value).removeprefix(path).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-mc", "-1"], "max channels limit cannot be negative (-1)"),
        (["-cid", "a b"], 'invalid cluster ID "a b"'),
        (["-hbi", "0"], "hb_interval must be above zero, it is 0s"),
        (["-ft_group", "g"], "ft: only FILE or SQL stores supported in FT mode"),
        (["-st", "SQL", "-ft_group", "a b"], 'invalid ft_group "a b"'),
        (
            ["-st", "SQL", "-ft_group", "g", "-ft_lease", "100ms"],
            "ft_lease must be at least 500ms, it is 100ms",
        ),
        (["-st", "SQL", "-ft_group", "g", "-ft_buffer", "-1"], "ft_buffer cannot be negative"),
        (["-dedupe_window", "-1s"], "dedupe_window cannot be negative (-1s)"),
        (["-hbf", "-1"], "hb_fail_count cannot be negative (-1)"),
        (["-p", "70000"], "port must be between -1 and 65535, it is 70000"),
        (["-log_format", "xml"], "log_format is text or json, not 'xml'"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    config = load_config(arguments, {})
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == message


def test_the_effective_configuration_hides_secrets() -> None:
    shown = format_config(
        load_config(["-pass", "pw1", "--sql_source", "pw2", "-auth", "pw3", "-mm", "5"], {})
    )
    assert "pw" not in shown
    assert "store_limits.max_msgs: 5\n" in shown
    assert "cluster_id: test-cluster (default)\n" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http: 8222", ["http_port: 8222"]),
        ('http: "127.0.0.1:8222"', ["http_port: 8222", "http_addr: 127.0.0.1"]),
        ("https_port: 8443", ["https_port: 8443", "http_port: 0 (default)"]),
        ("port: 5222\nhost: h", ["port: 5222", "addr: h"]),
        ('listen: "h:5222"', ["port: 5222", "addr: h"]),
        ("debug: true\nTRACE: true", ["debug: true", "trace: true"]),
        ("log_file: x.log\nlogtime: false", ["log_file: x.log", "logtime: false"]),
        ("pidfile: x.pid", ["pid: x.pid"]),
    ],
)
def test_what_the_nats_part_of_the_file_sets_is_in_effect(
    text: str, shown: list[str], tmp_path: Path
) -> None:
    for file in (f"{text}\nstreaming {{ id: a }}", f"{text}\nid: a"):
        lines = format_config(load_config(["-sc", write(tmp_path, file)], {})).splitlines()
        assert set(shown) <= set(lines)


def test_flags_beat_the_nats_part(tmp_path: Path) -> None:
    path = write(tmp_path, "http: 'h:1'\nport: 2\nlog_file: x\nstreaming { id: a }")
    config = load_config(["-sc", path, "-ms", "3", "-p", "4", "-l", "y"], {})
    assert (config.http_port, config.https_port, config.http_address) == (0, 3, "")
    assert (config.port, config.log_file) == (4, "y")


def test_the_streaming_part_beats_the_nats_part(tmp_path: Path) -> None:
    path = write(tmp_path, "log_file: x\nstreaming { log_file: y }")
    assert load_config(["-sc", path], {}).log_file == "y"


def test_servers_get_a_scheme() -> None:
    config = load_config(["-ns", "localhost:4222, tls://b:1"], {})
    assert config.nats_servers == ["nats://localhost:4222", "tls://b:1"]
    assert not config.is_embedded


def test_a_configuration_as_people_deploy_it_means_what_it_says(tmp_path: Path) -> None:
    """The shape of a Kubernetes config map for the original: includes, quotes and all."""
    (tmp_path / "limits.conf").write_text(
        """
        # per channel
        store_limits: {
          max_channels: 0
          max_bytes: 10GB
          max_age: "72h"
          channels: {
            "events.>": { max_age: "168h", max_msgs: 5000000 },
            "events.audit": { max_inactivity: "30m" }  // short-lived
          }
        }
        """
    )
    path = write(
        tmp_path,
        """
        http: 8222
        max_payload: 2MB
        streaming {
          id: production
          store: SQL
          sql_options: {
            driver: "postgres"
            source: "dbname=stan host=db user=stan password=hush sslmode=disable"
            no_caching: false
          }
          ns: "nats://nats-0.nats:4222,nats://nats-1.nats:4222"
          credentials: "/etc/nats/creds/sys.creds"
          hb_interval: "10s", hb_fail_count: 2
          replace_durable: true
          include ./limits.conf
        }
        """,
    )
    config = load_config(["-sc", path, "-m", "8223"], {})
    config.check()
    assert (config.cluster_id, config.store, config.sql_driver) == ("production", "SQL", "postgres")
    assert config.sql_source.startswith("dbname=stan host=db")
    assert config.nats_servers == ["nats://nats-0.nats:4222", "nats://nats-1.nats:4222"]
    assert config.credentials == "/etc/nats/creds/sys.creds"
    assert (config.heartbeat_interval_ns, config.heartbeat_fail_count) == (10_000_000_000, 2)
    assert (config.replace_durable, config.http_port, config.warnings) == (True, 8223, [])
    audit = config.limits.resolve("events.audit")
    assert audit == ChannelLimits(
        max_messages=5_000_000,
        max_bytes=10 << 30,
        max_age_ns=168 * 3600 * 10**9,
        max_inactivity_ns=30 * 60 * 10**9,
    )
    assert config.limits.max_channels == 0


def test_a_sql_source_without_the_sql_store_is_answered_with_a_warning() -> None:
    assert load_config(["-st", "SQL", "-sql_source", "stan.db"], {}).warnings == []
    for arguments, environment in (
        (["-sql_source", "stan.db"], {}),
        ([], {"STAN_SQL_SOURCE": "stan.db"}),
    ):
        [warning] = load_config(arguments, environment).warnings
        assert warning.startswith("Messages are kept in memory only: -st SQL is needed")


def test_the_limits_of_channels_are_shown_as_they_are_written(tmp_path: Path) -> None:
    text = 'streaming { store_limits { channels { "a.>": { max_msgs: 5, max_age: "1h" } } } }'
    shown = format_config(load_config(["-sc", write(tmp_path, text)], {}))
    assert shown.endswith(
        "limits of a.>: max_subs: 1000, max_msgs: 5, max_bytes: 1024000000, max_age: 1h0m0s,"
        " max_inactivity: 0s"
    )


@pytest.mark.parametrize("only", ["user", "password"])
def test_half_a_login_for_the_console_is_none(only: str) -> None:
    config = load_config([], {f"STAN_CONSOLE_{only.upper()}": "one"})
    with pytest.raises(ConfigError, match=r"the console's login lacks its (user|password)"):
        config.check()
