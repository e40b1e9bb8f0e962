"""Every flag and key of the original, as its documentation lists them.

The tables are written by hand from the protocol's reference and compared with the original
itself; nothing here is derived from the option table, which is what is being tested.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stan.errors import ConfigError
from stan.server.config.config import Config, load_config
from stan.server.config.flags import format_help
from stan.server.config.options import OPTIONS

SECOND_NS = 1_000_000_000
LIMITS = ("store_limits", "limits", "storelimits")


@dataclass(frozen=True)
class Row:
    """One line of the reference: its flags, its keys, a value as it is given on the command
    line and in the file, and what it means. A boolean is given as true."""

    field: str
    flags: str
    keys: str
    flag_text: str
    file_text: str
    meaning: Any


def text(field: str, flags: str, keys: str) -> Row:
    return Row(field, flags, keys, "some text", '"some text"', "some text")


def whole(field: str, flags: str, keys: str) -> Row:
    return Row(field, flags, keys, "7", "7", 7)


def truth(field: str, flags: str, keys: str) -> Row:
    return Row(field, flags, keys, "true", "true", True)


def time(field: str, flags: str, keys: str) -> Row:
    return Row(field, flags, keys, "1m30.5s", '"1m30.5s"', 90_500_000_000)


def size(field: str, flags: str, keys: str) -> Row:
    return Row(field, flags, keys, "3KB", "3KB", 3072)


def blocks(names: str, *within: str) -> str:
    return " ".join(f"{block}.{name}" for block in within for name in names.split())


ROWS = (
    text("cluster_id", "cid cluster_id", "cluster_id id cid"),
    text("discover_prefix", "", "discover_prefix"),
    text("ft_group", "ft_group", "ft_group ft_group_name"),
    Row("store", "st store", "store st store_type storetype", "sql", "sql", "SQL"),
    whole("max_channels", "mc max_channels", blocks("max_channels mc maxchannels", *LIMITS)),
    whole(
        "max_subscriptions",
        "msu max_subs",
        blocks("max_subs msu max_subscriptions maxsubscriptions", *LIMITS),
    ),
    whole("max_messages", "mm max_msgs", blocks("max_msgs mm maxmsgs max_count maxcount", *LIMITS)),
    size("max_bytes", "mb max_bytes", blocks("max_bytes mb maxbytes", *LIMITS)),
    time("max_age_ns", "ma max_age", blocks("max_age ma maxage", *LIMITS)),
    time(
        "max_inactivity_ns",
        "mi max_inactivity",
        blocks("max_inactivity mi maxinactivity", *LIMITS),
    ),
    text("nats_server", "ns nats_server", "nats_server_url ns nats_server"),
    time(
        "heartbeat_interval_ns", "hbi hb_interval", "hb_interval hbi server_to_client_hb_interval"
    ),
    time("heartbeat_timeout_ns", "hbt hb_timeout", "hb_timeout hbt server_to_client_hb_timeout"),
    whole(
        "heartbeat_fail_count",
        "hbf hb_fail_count",
        "hb_fail_count hbf server_to_client_hb_fail_count",
    ),
    truth(
        "replace_durable",
        "replace_durable",
        "replace_durable replace_durables replace_duplicate_durable replace_duplicate_durables",
    ),
    truth("stan_debug", "SD stan_debug", "stan_debug sd"),
    truth("stan_trace", "SV stan_trace", "stan_trace sv"),
    truth("stan_debug_trace", "SDV", ""),
    truth("secure", "secure", "secure"),
    text("tls_client_cert", "tls_client_cert", "tls.client_cert"),
    text("tls_client_key", "tls_client_key", "tls.client_key"),
    text("tls_client_ca", "tls_client_cacert", "tls.client_ca tls.client_cacert"),
    text("tls_server_name", "", "tls.server_name tls.server_hostname"),
    truth("tls_skip_verify", "", "tls.insecure tls.skip_verify"),
    text("credentials", "", "credentials"),
    text("user", "user", "username user"),
    text("password", "pass", "password pass"),
    text("token", "auth", "token"),
    text("nkey_seed_file", "", "nkey_seed_file"),
    truth("encrypt", "encrypt", "encrypt"),
    text("encryption_cipher", "encryption_cipher", "encryption_cipher"),
    text("encryption_key", "encryption_key", "encryption_key"),
    text("sql_driver", "sql_driver", blocks("driver", "sql", "sql_options")),
    text("sql_source", "sql_source", blocks("source", "sql", "sql_options")),
    text("address", "a addr net", ""),
    whole("port", "p port", ""),
    whole("http_port", "m http_port", ""),
    whole("https_port", "ms https_port", ""),
    text("log_file", "l log", ""),
    truth("log_time", "T logtime", ""),
    truth("syslog", "s syslog", ""),
    text("remote_syslog", "r remote_syslog", ""),
    truth("nats_debug", "D debug", ""),
    truth("nats_trace", "V trace", ""),
    truth("nats_debug_trace", "DV", ""),
    truth("nats_tls", "tls", ""),
    text("nats_tls_cert", "tlscert", ""),
    text("nats_tls_key", "tlskey", ""),
    truth("nats_tls_verify", "tlsverify", ""),
    text("nats_tls_ca", "tlscacert", ""),
    text("nats_routes", "routes", ""),
    text("nats_cluster", "cluster", ""),
    text("pid_file", "P pid", ""),
    text("signal", "sl signal", ""),
    truth("version", "v version", ""),
    truth("help", "h help", ""),
    truth("help_tls", "help_tls", ""),
)

# Accepted, and answered with one warning each: flag, keys, a value in the file.
FILE = ("file", "file_options")
UNHEEDED = (
    ("dir", "dir datastore", '"data"'),
    ("io_batch_size", "", "7"),
    ("io_sleep_time", "", "7"),
    ("syslog_name", "syslog_name", '"name"'),
    ("sql_no_caching", blocks("no_caching", "sql", "sql_options"), "true"),
    ("sql_max_open_conns", blocks("max_open_conns max_conns", "sql", "sql_options"), "7"),
    ("sql_bulk_insert_limit", blocks("bulk_insert_limit", "sql", "sql_options"), "7"),
    ("file_compact_enabled", blocks("compact compact_enabled", *FILE), "false"),
    ("file_compact_frag", blocks("compact_frag compact_fragmentation", *FILE), "7"),
    ("file_compact_interval", blocks("compact_interval", *FILE), "7"),
    ("file_compact_min_size", blocks("compact_min_size", *FILE), "7"),
    ("file_buffer_size", blocks("buffer_size", *FILE), "7"),
    ("file_read_buffer_size", blocks("read_buffer_size", *FILE), "7"),
    ("file_crc", blocks("crc do_crc", *FILE), "false"),
    ("file_crc_poly", blocks("crc_poly", *FILE), "7"),
    ("file_sync", blocks("sync do_sync sync_on_flush", *FILE), "false"),
    ("file_auto_sync", blocks("auto_sync", *FILE), '"7s"'),
    (
        "file_slice_max_msgs",
        blocks("slice_max_msgs slice_max_count slice_msgs slice_count", *FILE),
        "7",
    ),
    (
        "file_slice_max_bytes",
        blocks("slice_max_bytes slice_max_size slice_bytes slice_size", *FILE),
        "64MB",
    ),
    (
        "file_slice_max_age",
        blocks("slice_max_age slice_max_time slice_age slice_time_limit", *FILE),
        '"7h"',
    ),
    (
        "file_slice_archive_script",
        blocks("slice_archive_script slice_archive slice_script", *FILE),
        '"/a.sh"',
    ),
    ("file_fds_limit", blocks("fds_limit file_descriptors_limit", *FILE), "7"),
    ("file_parallel_recovery", blocks("parallel_recovery", *FILE), "7"),
    ("file_truncate_bad_eof", "", "true"),
)

# Refused, because a server that went on without them would break a promise.
RAFT = "clustering by Raft is not offered"
REFUSED = (
    ("clustered", "", "true", RAFT),
    ("cluster_node_id", "cluster.node_id", '"a"', RAFT),
    ("cluster_bootstrap", "cluster.bootstrap", "true", RAFT),
    ("cluster_peers", "cluster.peers", '["a", "b"]', RAFT),
    ("cluster_log_path", "cluster.log_path", '"/log"', RAFT),
    ("cluster_log_cache_size", "cluster.log_cache_size", "512", RAFT),
    ("cluster_log_snapshots", "cluster.log_snapshots", "2", RAFT),
    ("cluster_trailing_logs", "cluster.trailing_logs", "10240", RAFT),
    ("cluster_sync", "cluster.sync", "true", RAFT),
    ("cluster_raft_logging", "cluster.raft_logging", "true", RAFT),
    (
        "cluster_proceed_on_restore_failure",
        "cluster.proceed_on_restore_failure",
        "true",
        RAFT,
    ),
    ("cluster_allow_add_remove_node", "cluster.allow_add_remove_node", "true", RAFT),
    ("", "cluster.raft_heartbeat_timeout", '"2s"', RAFT),
    ("", "cluster.raft_election_timeout", '"2s"', RAFT),
    ("", "cluster.raft_lease_timeout", '"1s"', RAFT),
    ("", "cluster.raft_commit_timeout", '"100ms"', RAFT),
    ("", "cluster.bolt_free_list_sync", "true", RAFT),
    ("", "cluster.bolt_free_list_map", "true", RAFT),
    ("", "cluster.nodes_connections", "true", RAFT),
)
# Flags that name a file, tested beside the files.
FILES = {"sc", "stan_config", "c", "config"}
# What this server has and the original has not.
OURS = {
    *("intake_bytes", "intake_dir", "spill_bytes", "metrics_channels"),
    *("cache_bytes", "test_timers", "check_config", "welcome", "sql_durability", "sql_migrate"),
    "sql_outbox",
    *("http_addr", "log_format", "client_pending_bytes", "max_inflight_limit"),
    *("dedupe_window", "ft_lease", "ft_buffer", "partitioning", "admin"),
}


def in_file(path: Path, key: str, value: str, inside: bool = True) -> str:
    block, _, name = key.rpartition(".")
    line = f"{block} {{ {name}: {value} }}" if block else f"{name}: {value}"
    path.write_text(f"streaming {{ {line} }}" if inside else line)
    return str(path)


def load(*arguments: str) -> Config:
    return load_config(arguments, {})


@pytest.mark.parametrize("row", [row for row in ROWS if row.flags], ids=lambda row: row.field)
def test_every_flag_is_taken_as_go_programs_take_it(row: Row) -> None:
    is_boolean = row.meaning is True
    for name in row.flags.split():
        spellings = [[f"-{name}={row.flag_text}"], [f"--{name}={row.flag_text}"]]
        for dashes in ("-", "--"):
            spellings.append([f"{dashes}{name}", *([] if is_boolean else [row.flag_text])])
        for arguments in spellings:
            assert getattr(load(*arguments), row.field) == row.meaning, arguments


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.meaning is True and row.flags], ids=lambda row: row.field
)
def test_every_boolean_flag_takes_what_go_takes(row: Row) -> None:
    for name in row.flags.split():
        for word, meaning in (("t", True), ("1", True), ("TRUE", True), ("F", False), ("0", False)):
            assert getattr(load(f"-{name}={word}"), row.field) is meaning
        assert getattr(load(f"-{name}=false"), row.field) is False
        # A Go program would end its flags at the bare word; here it is the value.
        assert getattr(load(f"--{name}", "false"), row.field) is False
        config = load(f"-{name}", "-cid", "next")
        assert config.help or config.version or config.help_tls or config.cluster_id == "next"


@pytest.mark.parametrize("row", [row for row in ROWS if row.keys], ids=lambda row: row.field)
def test_every_key_is_taken_in_each_place(row: Row, tmp_path: Path) -> None:
    path = tmp_path / "stan.conf"
    for key in row.keys.split():
        for spelling in (key, key.upper()):
            for inside, flag in ((True, "-sc"), (True, "-c"), (False, "-sc"), (False, "-c")):
                file = in_file(path, spelling, row.file_text, inside)
                assert getattr(load(flag, file), row.field) == row.meaning, (spelling, flag)


@pytest.mark.parametrize("row", [r for r in ROWS if r.flags and r.keys], ids=lambda row: row.field)
def test_every_flag_beats_its_key(row: Row, tmp_path: Path) -> None:
    other = {"true": "false", "sql": "MEMORY"}.get(row.flag_text, row.file_text)
    file = in_file(tmp_path / "stan.conf", row.keys.split()[0], other)
    flag = f"-{row.flags.split()[0]}={row.flag_text}"
    assert getattr(load("-sc", file, flag), row.field) == row.meaning


PER_CHANNEL = [
    (row.field, key.partition(".")[2], row.file_text, row.meaning)
    for row in ROWS
    for key in row.keys.split()
    if key.startswith("store_limits.") and row.field != "max_channels"
]


@pytest.mark.parametrize(("field", "key", "value", "meaning"), PER_CHANNEL)
def test_every_limit_is_taken_for_a_channel(
    field: str, key: str, value: str, meaning: Any, tmp_path: Path
) -> None:
    path = tmp_path / "stan.conf"
    for limits in LIMITS:
        for channels in (
            *("channels", "channels_limits", "channelslimits"),
            *("per_channel", "per_channel_limits"),
        ):
            path.write_text(
                f'streaming {{ {limits} {{ {channels} {{ "a.*" {{ {key}: {value} }} }} }} }}'
            )
            assert getattr(load("-sc", str(path)).limits.resolve("a.b"), field) == meaning


@pytest.mark.parametrize(
    ("given", "meaning"),
    [
        ("1000", 1000),
        ("1KB", 1024),
        ("2k", 2000),  # not 2048, and so in the file
        ("2Ki", 2048),
        ("3M", 3 * 10**6),
        ("4gb", 4 << 30),
        ("5TiB", 5 << 40),
        ("-1", -1),
    ],
)
def test_sizes(given: str, meaning: int, tmp_path: Path) -> None:
    assert load("-max_bytes", given).max_bytes == meaning
    assert load(f"--mb={given}").max_bytes == meaning
    file = in_file(tmp_path / "stan.conf", "store_limits.max_bytes", given)
    assert load("-sc", file).max_bytes == meaning


@pytest.mark.parametrize(
    ("given", "meaning_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", SECOND_NS // 2),
        ("1.5h", 5400 * SECOND_NS),
        ("24h0m1s", 86401 * SECOND_NS),
        ("1us", 1000),
        ("-1s", -SECOND_NS),
    ],
)
def test_durations(given: str, meaning_ns: int, tmp_path: Path) -> None:
    assert load("-max_age", given).max_age_ns == meaning_ns
    file = in_file(tmp_path / "stan.conf", "store_limits.max_age", f'"{given}"')
    assert load("-sc", file).max_age_ns == meaning_ns


@pytest.mark.parametrize(("flag", "keys", "value"), UNHEEDED, ids=lambda each: str(each)[:30])
def test_what_has_no_meaning_here_gets_one_warning(
    flag: str, keys: str, value: str, tmp_path: Path
) -> None:
    word = value.strip('"')
    for arguments in ([f"-{flag}={word}"], [f"--{flag}", word]):
        [warning] = load(*arguments).warnings
        assert warning.startswith(f"-{flag} has no effect: ")
    for key in keys.split():
        for inside in (True, False):
            file = in_file(tmp_path / "stan.conf", key, value, inside)
            [warning] = load("-sc", file).warnings
            assert warning.startswith(f"-{flag} has no effect: ")


@pytest.mark.parametrize(
    ("flag", "keys", "value", "reason"), REFUSED, ids=lambda each: str(each)[:40]
)
def test_what_would_break_a_promise_is_refused(
    flag: str, keys: str, value: str, reason: str, tmp_path: Path
) -> None:
    for dashes in ("-", "--") if flag else ():
        with pytest.raises(ConfigError, match=reason):
            load(f"{dashes}{flag}={value.strip(chr(34))}")
    for key in keys.split():
        for inside in (True, False):
            with pytest.raises(ConfigError, match=reason):
                load("-sc", in_file(tmp_path / "stan.conf", key, value, inside))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-st", "FILE", "-dir", "data"], "this server has no FILE store: use -st SQL"),
        (["-store", "file"], "this server has no FILE store: use -st SQL"),
        (["-st", "tape"], "unsupported store type: TAPE"),
    ],
)
def test_stores_that_do_not_exist_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(*arguments)


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("STAN_SQL_SOURCE", "sql_source"),
        ("STAN_PASS", "password"),
        ("STAN_AUTH", "token"),
        ("NATS_STREAMING_ENCRYPTION_KEY", "encryption_key"),
    ],
)
def test_secrets_may_come_by_the_environment(variable: str, field: str) -> None:
    assert getattr(load_config([], {variable: "word"}), field) == "word"
    assert getattr(load_config([], {variable: ""}), field) == ""


def test_nothing_is_left_out_and_nothing_is_made_up() -> None:
    listed = {flag for row in ROWS for flag in row.flags.split()}
    listed |= {flag for flag, *_ in UNHEEDED} | {flag for flag, *_ in REFUSED if flag}
    assert listed | FILES | OURS == {flag for option in OPTIONS for flag in option.flags}


def test_the_help_has_the_originals_groups_and_every_flag() -> None:
    shown = format_help("stan-server")
    for heading in (
        *("Streaming Server Options", "Streaming Server Clustering Options"),
        *("Streaming Server File Store Options", "Streaming Server SQL Store Options"),
        *("Streaming Server TLS Options", "Streaming Server Logging Options"),
        *("Embedded NATS Server Options", "Logging Options", "Authorization Options"),
        *("TLS Options", "NATS Clustering Options", "Common Options"),
    ):
        assert f"\n{heading}:\n" in shown
    words = set(shown.replace(",", " ").split())
    for option in OPTIONS:
        assert all(f"-{flag}" in words or f"--{flag}" in words for flag in option.flags)
