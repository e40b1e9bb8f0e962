"""Every option of the server, declared once.

A field of Options is an option in full: its name in the program, type, default, flags, keys,
environment and help. The command line, the configuration file, the help text and the table
in the operations guide are made of these. Names are spelled as NATS Streaming spells them.
An option that means nothing in this server is no field, but has the words that answer it.
"""

from dataclasses import dataclass

from stan.server.config.declaring import (
    Group,
    Kind,
    Option,
    declared_options,
    duration,
    number,
    size,
    switch,
    text,
    within,
)
from stan.units import SECOND_NS

LIMIT_BLOCKS = ("store_limits", "limits", "storelimits")
CHANNEL_BLOCKS = (
    "channels",
    "channels_limits",
    "channelslimits",
    "per_channel",
    "per_channel_limits",
)
SQL_BLOCKS = ("sql", "sql_options")
FILE_BLOCKS = ("file", "file_options")

_NO_FILE_STORE = "this server has no FILE store; it keeps messages with -st SQL"
_NO_RAFT = "clustering by Raft is not offered; run the server under a supervisor with a SQL store"
_SINGLE_WRITER = "this server always writes a whole batch in one transaction"
_OWN_BATCHES = "batches follow the load by themselves"


@dataclass(slots=True, kw_only=True)
class Options:
    """The options that mean something here."""

    # fmt: off
    cluster_id: str = text(Group.STREAMING, "cid cluster_id", "cluster_id id cid",
        "Cluster ID", "test-cluster")
    discover_prefix: str = text(Group.STREAMING, "", "discover_prefix",
        "Prefix of the subject on which clients connect", "_STAN.discover")
    store: str = text(Group.STREAMING, "st store", "store st store_type storetype",
        "Store type: MEMORY or SQL", "MEMORY")
    max_channels: int = number(Group.STREAMING, "mc max_channels",
        within(LIMIT_BLOCKS, "max_channels mc maxchannels"),
        "Max number of channels (0 for unlimited)", 100)
    max_subscriptions: int = number(Group.STREAMING, "msu max_subs",
        within(LIMIT_BLOCKS, "max_subs msu max_subscriptions maxsubscriptions maxsubs"),
        "Max number of subscriptions per channel (0 for unlimited)", 1000)
    max_messages: int = number(Group.STREAMING, "mm max_msgs",
        within(LIMIT_BLOCKS, "max_msgs mm maxmsgs max_count maxcount"),
        "Max number of messages per channel (0 for unlimited)", 1_000_000)
    max_bytes: int = size(Group.STREAMING, "mb max_bytes",
        within(LIMIT_BLOCKS, "max_bytes mb maxbytes"),
        "Max messages total size per channel (0 for unlimited)", 1_024_000_000)
    max_age_ns: int = duration(Group.STREAMING, "ma max_age",
        within(LIMIT_BLOCKS, "max_age ma maxage"),
        "Max time a message is kept (0s for unlimited)", 0)
    max_inactivity_ns: int = duration(Group.STREAMING, "mi max_inactivity",
        within(LIMIT_BLOCKS, "max_inactivity mi maxinactivity"),
        "Time without messages and subscriptions after which a channel is deleted"
        " (0s for never)", 0)
    nats_server: str = text(Group.STREAMING, "ns nats_server", "nats_server_url ns nats_server",
        "NATS server to connect to, or several separated by commas"
        " (a NATS server is started otherwise)")
    stan_config: str = text(Group.STREAMING, "sc stan_config", "",
        "Streaming server configuration file")
    heartbeat_interval_ns: int = duration(Group.STREAMING, "hbi hb_interval",
        "hb_interval hbi server_to_client_hb_interval",
        "Interval at which the server sends heartbeats to a client", 30 * SECOND_NS)
    heartbeat_timeout_ns: int = duration(Group.STREAMING, "hbt hb_timeout",
        "hb_timeout hbt server_to_client_hb_timeout",
        "How long the server waits for a heartbeat response", 10 * SECOND_NS)
    heartbeat_fail_count: int = number(Group.STREAMING, "hbf hb_fail_count",
        "hb_fail_count hbf server_to_client_hb_fail_count",
        "Failed heartbeats in a row before the server closes the client", 10)
    signal: str = text(Group.STREAMING, "sl signal", "",
        "Send a signal to a running server: stop, quit, reopen, reload or handover,"
        " then =<pid or pid file>")
    encrypt: bool = switch(Group.STREAMING, "encrypt", "encrypt",
        "Encrypt message payloads at rest")
    encryption_cipher: str = text(Group.STREAMING, "encryption_cipher", "encryption_cipher",
        "Cipher for new messages: AES or CHACHA (default: AES on x86, otherwise CHACHA)")
    encryption_key: str = text(Group.STREAMING, "encryption_key", "encryption_key",
        "Encryption key, which also turns encryption on; safer in the environment",
        environment="NATS_STREAMING_ENCRYPTION_KEY", environment_first=True, secret=True)
    replace_durable: bool = switch(Group.STREAMING, "replace_durable",
        "replace_durable replace_durables replace_duplicate_durable replace_duplicate_durables",
        "Replace an active durable instead of reporting a duplicate")
    cache_bytes: int = size(Group.STREAMING, "cache_bytes", "cache_bytes",
        "Memory for recent messages, from which live subscriptions are served",
        64 * 1024 * 1024)
    metrics_channels: int = number(Group.STREAMING, "metrics_channels", "metrics_channels",
        "Channels with series of their own in /metrics, the busiest; the others are summed"
        " (0 for all)", 1000)
    client_pending_bytes: int = size(Group.STREAMING, "client_pending_bytes",
        "client_pending_bytes",
        "Deliveries to a client that has not proved that it reads them (0 for any)",
        16 * 1024 * 1024)
    max_in_flight_limit: int = number(Group.STREAMING, "max_inflight_limit",
        "max_inflight_limit",
        "Most unacknowledged messages a subscription may ask for (0 for any)", 0)
    dedupe_window_ns: int = duration(Group.STREAMING, "dedupe_window", "dedupe_window",
        "How long a publish that is sent again is known to be stored already", 120 * SECOND_NS)
    admin: str = text(Group.STREAMING, "admin", "admin",
        "Operations over NATS: off, read, or full, which may change what is stored", "read")
    partitioning: bool = switch(Group.STREAMING, "partitioning", "partitioning",
        "Serve only the channels listed in the limits, beside servers that serve others")
    ft_group: str = text(Group.STREAMING, "ft_group", "ft_group ft_group_name",
        "Name of the fault tolerance group: the servers that share a SQL store, of which one"
        " serves")
    ft_lease_ns: int = duration(Group.STREAMING, "ft_lease", "ft_lease",
        "How long a server of a group that is frozen or cut off keeps the others out",
        3 * SECOND_NS)
    ft_buffer_bytes: int = size(Group.STREAMING, "ft_buffer", "ft_buffer",
        "Memory in which a standby keeps what clients sent lately", 64 * 1024 * 1024)
    intake_bytes: int = size(Group.STREAMING, "intake_bytes", "intake_bytes",
        "Memory for publishes that wait to be stored; more of them wait on disk",
        32 * 1024 * 1024)
    intake_dir: str = text(Group.STREAMING, "intake_dir", "intake_dir",
        "Folder for the temporary files in which publishes wait (default: the system's)")
    spill_bytes: int = size(Group.STREAMING, "spill_bytes", "spill_bytes",
        "How much may wait on disk before publishes are refused (0 for unlimited)",
        4 * 1024 * 1024 * 1024)
    console_user: str = text(Group.STREAMING, "", "console.user console.username",
        "User who may change things in the console; without one, only people at the machine"
        " itself may, when monitoring listens on loopback", environment="STAN_CONSOLE_USER")
    console_password: str = text(Group.STREAMING, "", "console.password console.pass",
        "The user's password, or a bcrypt hash of it", environment="STAN_CONSOLE_PASSWORD",
        secret=True)
    test_timers: bool = switch(Group.STREAMING, "test_timers", "",
        "For tests only: negative ack waits and ping intervals of clients are milliseconds")
    check_config: bool = switch(Group.STREAMING, "check_config", "",
        "Check the configuration, print what is in effect, and exit")
    welcome: bool = switch(Group.STREAMING, "welcome", "",
        "Once ready, tell a newcomer what to type next")

    sql_driver: str = text(Group.SQL, "sql_driver", within(SQL_BLOCKS, "driver"),
        "Database when the source does not tell: sqlite, postgres or mysql")
    sql_source: str = text(Group.SQL, "sql_source", within(SQL_BLOCKS, "source"),
        "Database: a SQLAlchemy URL, the original's data source, or the path of a SQLite"
        " file", environment="STAN_SQL_SOURCE", secret=True)
    sql_durability: str = text(Group.SQL, "sql_durability", within(SQL_BLOCKS, "durability"),
        "full: a power cut loses nothing that was acknowledged; normal: it may lose the last"
        " moments; off: it may damage a SQLite file", "full")
    sql_migrate: bool = switch(Group.SQL, "sql_migrate", within(SQL_BLOCKS, "migrate"),
        "Create or upgrade the schema at start; false: refuse, and run stan-server migrate",
        True)
    outbox: bool = switch(Group.SQL, "sql_outbox", within(SQL_BLOCKS, "outbox"),
        "Publish what applications write into the table stan_outbox", True)

    secure: bool = switch(Group.TLS, "secure", "secure", "Use TLS to the NATS server")
    tls_client_key: str = text(Group.TLS, "tls_client_key", "tls.client_key",
        "Client key for the streaming server")
    tls_client_cert: str = text(Group.TLS, "tls_client_cert", "tls.client_cert",
        "Client certificate for the streaming server")
    tls_client_ca: str = text(Group.TLS, "tls_client_cacert",
        "tls.client_ca tls.client_cacert",
        "Certificate authority that the NATS server's certificate is checked against")
    tls_server_name: str = text(Group.TLS, "", "tls.server_name tls.server_hostname",
        "Name expected in the NATS server's certificate")
    tls_skip_verify: bool = switch(Group.TLS, "", "tls.insecure tls.skip_verify",
        "Do not verify the NATS server's certificate")

    stan_debug: bool = switch(Group.LOGGING, "SD stan_debug", "stan_debug sd",
        "Enable debugging output")
    stan_trace: bool = switch(Group.LOGGING, "SV stan_trace", "stan_trace sv",
        "Trace the protocol")
    stan_debug_trace: bool = switch(Group.LOGGING, "SDV", "", "Debug and trace")

    address: str = text(Group.NATS, "a addr net", "", "Bind to host address", "0.0.0.0",
        nats_keys="listen host net")
    port: int = number(Group.NATS, "p port", "", "Port for clients (-1 for a free one)", 4222,
        nats_keys="listen port")
    pid_file: str = text(Group.NATS, "P pid", "", "File to store the process ID in",
        nats_keys="pid_file pidfile")
    http_port: int = number(Group.NATS, "m http_port", "", "Port for monitoring over HTTP", 0,
        nats_keys="http http_port monitor_port")
    https_port: int = number(Group.NATS, "ms https_port", "",
        "Port for monitoring over HTTPS", 0, nats_keys="https https_port")
    http_address: str = text(Group.NATS, "http_addr", "",
        "Address for monitoring (default: that of -a)", nats_keys="https http")
    nats_config: str = text(Group.NATS, "c config", "", "NATS server configuration file")

    log_file: str = text(Group.NATS_LOGGING, "l log", "log_file logfile",
        "File to write the log to", shared=True)
    log_time: bool = switch(Group.NATS_LOGGING, "T logtime", "logtime",
        "Timestamp log entries", True, shared=True)
    syslog: bool = switch(Group.NATS_LOGGING, "s syslog", "syslog", "Log to syslog",
        shared=True)
    remote_syslog: str = text(Group.NATS_LOGGING, "r remote_syslog", "remote_syslog",
        "Syslog server, such as udp://localhost:514", shared=True)
    log_format: str = text(Group.NATS_LOGGING, "log_format", "log_format",
        "Log lines as text or json", "text")
    nats_debug: bool = switch(Group.NATS_LOGGING, "D debug", "",
        "Enable debugging output of the NATS server", nats_keys="debug")
    nats_trace: bool = switch(Group.NATS_LOGGING, "V trace", "",
        "Trace the raw NATS protocol", nats_keys="trace")
    nats_debug_trace: bool = switch(Group.NATS_LOGGING, "DV", "",
        "Debug and trace the NATS server")

    user: str = text(Group.AUTHORIZATION, "user", "username user",
        "User name for connections to NATS")
    password: str = text(Group.AUTHORIZATION, "pass", "password pass",
        "Password for connections to NATS", environment="STAN_PASS", secret=True)
    token: str = text(Group.AUTHORIZATION, "auth", "token",
        "Authorization token for connections to NATS", environment="STAN_AUTH", secret=True)
    credentials: str = text(Group.AUTHORIZATION, "", "credentials",
        "Credentials file for the connection to NATS")
    nkey_seed_file: str = text(Group.AUTHORIZATION, "", "nkey_seed_file",
        "File with the NKey seed for the connection to NATS")

    nats_tls: bool = switch(Group.NATS_TLS, "tls", "", "Enable TLS, do not verify clients")
    nats_tls_cert: str = text(Group.NATS_TLS, "tlscert", "", "Server certificate file")
    nats_tls_key: str = text(Group.NATS_TLS, "tlskey", "", "Private key for server certificate")
    nats_tls_verify: bool = switch(Group.NATS_TLS, "tlsverify", "",
        "Enable TLS, verify client certificates")
    nats_tls_ca: str = text(Group.NATS_TLS, "tlscacert", "",
        "Client certificate CA for verification")

    nats_routes: str = text(Group.NATS_CLUSTER, "routes", "",
        "Routes to solicit and connect")
    nats_cluster: str = text(Group.NATS_CLUSTER, "cluster", "",
        "Cluster URL for solicited routes")

    help: bool = switch(Group.COMMON, "h help", "", "Show this message")
    version: bool = switch(Group.COMMON, "v version", "", "Show version")
    help_tls: bool = switch(Group.COMMON, "help_tls", "", "TLS help")
    # fmt: on


def _ignored(
    group: Group,
    field: str,
    kind: Kind,
    keys: str,
    reason: str,
    default: str | int | bool = "",
    about: str = "Accepted for compatibility, without effect",
) -> Option:
    """An option of the original whose flag is called as the field. Without a default, whatever
    is given is answered."""
    return Option(group, field, kind, (field,), tuple(keys.split()), about, default, ignored=reason)


def _file(field: str, kind: Kind, names: str) -> Option:
    return _ignored(Group.FILE, field, kind, within(FILE_BLOCKS, names), _NO_FILE_STORE)


def _raft(kind: Kind, name: str, default: str | int | bool = "", has_flag: bool = True) -> Option:
    about = "Recognized; clustering is not offered"
    field = f"cluster_{name}"
    flags = (field,) if has_flag else ()
    keys = (f"cluster.{name}",)
    return Option(Group.CLUSTERING, field, kind, flags, keys, about, default, refused=_NO_RAFT)


_MEANINGLESS: tuple[Option, ...] = (
    _ignored(Group.STREAMING, "dir", Kind.TEXT, "dir datastore", _NO_FILE_STORE,
             about="Root directory of the original's FILE store"),
    _ignored(Group.STREAMING, "io_batch_size", Kind.INTEGER, "", _OWN_BATCHES, 1024),
    _ignored(Group.STREAMING, "io_sleep_time", Kind.INTEGER, "", _OWN_BATCHES, 0),

    _ignored(Group.SQL, "sql_no_caching", Kind.BOOLEAN, within(SQL_BLOCKS, "no_caching"),
             _SINGLE_WRITER, False),
    _ignored(Group.SQL, "sql_max_open_conns", Kind.INTEGER,
             within(SQL_BLOCKS, "max_open_conns max_conns"),
             "this server opens a handful of connections, never more", 0),
    _ignored(Group.SQL, "sql_bulk_insert_limit", Kind.INTEGER,
             within(SQL_BLOCKS, "bulk_insert_limit"), _SINGLE_WRITER, 0),

    _ignored(Group.LOGGING, "syslog_name", Kind.TEXT, "syslog_name",
             "it concerns Windows services"),

    Option(Group.CLUSTERING, "clustered", Kind.BOOLEAN, ("clustered",), (),
           "Recognized; clustering is not offered", False, refused=_NO_RAFT),
    _raft(Kind.TEXT, "node_id"),
    _raft(Kind.BOOLEAN, "bootstrap", False),
    _raft(Kind.TEXT, "peers"),
    _raft(Kind.TEXT, "log_path"),
    _raft(Kind.INTEGER, "log_cache_size", 0),
    _raft(Kind.INTEGER, "log_snapshots", 0),
    _raft(Kind.INTEGER, "trailing_logs", 0),
    _raft(Kind.BOOLEAN, "sync", False),
    _raft(Kind.BOOLEAN, "raft_logging", False),
    _raft(Kind.BOOLEAN, "proceed_on_restore_failure", False),
    _raft(Kind.BOOLEAN, "allow_add_remove_node", False),
    _raft(Kind.DURATION, "raft_heartbeat_timeout", has_flag=False),
    _raft(Kind.DURATION, "raft_election_timeout", has_flag=False),
    _raft(Kind.DURATION, "raft_lease_timeout", has_flag=False),
    _raft(Kind.DURATION, "raft_commit_timeout", has_flag=False),
    _raft(Kind.BOOLEAN, "bolt_free_list_sync", False, has_flag=False),
    _raft(Kind.BOOLEAN, "bolt_free_list_map", False, has_flag=False),
    _raft(Kind.BOOLEAN, "nodes_connections", False, has_flag=False),

    _file("file_compact_enabled", Kind.BOOLEAN, "compact compact_enabled"),
    _file("file_compact_frag", Kind.INTEGER, "compact_frag compact_fragmentation"),
    _file("file_compact_interval", Kind.INTEGER, "compact_interval"),
    _file("file_compact_min_size", Kind.SIZE, "compact_min_size"),
    _file("file_buffer_size", Kind.SIZE, "buffer_size"),
    _file("file_read_buffer_size", Kind.SIZE, "read_buffer_size"),
    _file("file_crc", Kind.BOOLEAN, "crc do_crc"),
    _file("file_crc_poly", Kind.INTEGER, "crc_poly"),
    _file("file_sync", Kind.BOOLEAN, "sync do_sync sync_on_flush"),
    _file("file_auto_sync", Kind.DURATION, "auto_sync"),
    _file("file_slice_max_msgs", Kind.INTEGER,
          "slice_max_msgs slice_max_count slice_msgs slice_count"),
    _file("file_slice_max_bytes", Kind.SIZE,
          "slice_max_bytes slice_max_size slice_bytes slice_size"),
    _file("file_slice_max_age", Kind.DURATION,
          "slice_max_age slice_max_time slice_age slice_time_limit"),
    _file("file_slice_archive_script", Kind.TEXT,
          "slice_archive_script slice_archive slice_script"),
    _file("file_fds_limit", Kind.INTEGER, "fds_limit file_descriptors_limit"),
    _file("file_parallel_recovery", Kind.INTEGER, "parallel_recovery"),
    _file("file_truncate_bad_eof", Kind.BOOLEAN, ""),
)  # fmt: skip

OPTIONS: tuple[Option, ...] = tuple(
    sorted(
        [*declared_options(Options), *_MEANINGLESS],
        key=lambda option: list(Group).index(option.group),
    )
)
