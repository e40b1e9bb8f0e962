"""Every option of the server, declared once.

One declaration feeds the command line, the configuration file, the environment, the
default, the help text and the table in the operations guide. Names are spelled as NATS
Streaming spells them. What an option does is not known here; an option that means nothing
in this server stays in the table, with the words that answer it.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a value is written. The value is the placeholder in the help."""

    TEXT = "string"
    INTEGER = "int"
    BOOLEAN = "bool"
    DURATION = "duration"
    SIZE = "size"


@dataclass(slots=True, frozen=True)
class Option:
    """`field` names the attribute of Config; `keys` are dotted paths in the configuration
    file, all aliases spelled out. The `environment` is asked after the flags, with
    `environment_first` before them. An `ignored` option is accepted with that warning when it
    is set, a `refused` one ends the start with that message when it is set to something
    that matters."""

    group: str
    field: str
    kind: Kind
    flags: tuple[str, ...]
    keys: tuple[str, ...]
    help: str
    default: str | int | bool = ""
    environment: str = ""
    environment_first: bool = False
    secret: bool = False
    ignored: str = ""
    refused: str = ""


STREAMING = "Streaming Server Options"
SQL = "Streaming Server SQL Store Options"
TLS = "Streaming Server TLS Options"
LOGGING = "Streaming Server Logging Options"
NATS = "Embedded NATS Server Options"
NATS_LOGGING = "Logging Options"
AUTHORIZATION = "Authorization Options"
NATS_TLS = "TLS Options"
NATS_CLUSTER = "NATS Clustering Options"
COMMON = "Common Options"
CLUSTERING = "Streaming Server Clustering Options"
FILE = "Streaming Server File Store Options"

SECOND_NS = 1_000_000_000
LIMIT_BLOCKS = ("store_limits", "limits", "storelimits")
CHANNEL_BLOCKS = (
    "channels",
    "channels_limits",
    "channelslimits",
    "per_channel",
    "per_channel_limits",
)

_NO_FILE_STORE = "this server has no FILE store; it keeps messages with -st SQL"
_NO_RAFT = "clustering by Raft is not offered; run the server under a supervisor with a SQL store"
_SINGLE_WRITER = "this server always writes a whole batch in one transaction"


def _limit(field: str, kind: Kind, flags: str, names: str, text: str, default: int) -> Option:
    keys = tuple(f"{block}.{name}" for block in LIMIT_BLOCKS for name in names.split())
    return Option(STREAMING, field, kind, tuple(flags.split()), keys, text, default)


def _streaming(
    field: str, kind: Kind, flags: str, keys: str, text: str, default: str | int | bool = ""
) -> Option:
    return Option(STREAMING, field, kind, tuple(flags.split()), tuple(keys.split()), text, default)


def _nats(
    group: str, field: str, kind: Kind, flags: str, text: str, default: str | int | bool = ""
) -> Option:
    """An option of the embedded NATS server; its configuration file is read by itself."""
    return Option(group, field, kind, tuple(flags.split()), (), text, default)


def _file(kind: Kind, flag: str, names: str) -> Option:
    """No value of it is the default, so that whatever is given is answered."""
    keys = tuple(f"{block}.{name}" for block in ("file", "file_options") for name in names.split())
    text = "Accepted for compatibility, without effect"
    return Option(FILE, flag, kind, (flag,), keys, text, ignored=_NO_FILE_STORE)


def _raft(kind: Kind, name: str, default: str | int | bool = "", has_flag: bool = True) -> Option:
    text = "Recognized; clustering is not offered"
    field = f"cluster_{name}"
    flags = (field,) if has_flag else ()
    keys = (f"cluster.{name}",)
    return Option(CLUSTERING, field, kind, flags, keys, text, default, refused=_NO_RAFT)


OPTIONS: tuple[Option, ...] = (
    _streaming("cluster_id", Kind.TEXT, "cid cluster_id", "cluster_id id cid",
               "Cluster ID", "test-cluster"),
    _streaming("discover_prefix", Kind.TEXT, "", "discover_prefix",
               "Prefix of the subject on which clients connect", "_STAN.discover"),
    _streaming("store", Kind.TEXT, "st store", "store st store_type storetype",
               "Store type: MEMORY or SQL", "MEMORY"),
    Option(STREAMING, "dir", Kind.TEXT, ("dir",), ("dir", "datastore"),
           "Root directory of the original's FILE store", ignored=_NO_FILE_STORE),
    _limit("max_channels", Kind.INTEGER, "mc max_channels", "max_channels mc maxchannels",
           "Max number of channels (0 for unlimited)", 100),
    _limit("max_subscriptions", Kind.INTEGER, "msu max_subs",
           "max_subs msu max_subscriptions maxsubscriptions maxsubs",
           "Max number of subscriptions per channel (0 for unlimited)", 1000),
    _limit("max_messages", Kind.INTEGER, "mm max_msgs", "max_msgs mm maxmsgs max_count maxcount",
           "Max number of messages per channel (0 for unlimited)", 1_000_000),
    _limit("max_bytes", Kind.SIZE, "mb max_bytes", "max_bytes mb maxbytes",
           "Max messages total size per channel (0 for unlimited)", 1_024_000_000),
    _limit("max_age_ns", Kind.DURATION, "ma max_age", "max_age ma maxage",
           "Max time a message is kept (0s for unlimited)", 0),
    _limit("max_inactivity_ns", Kind.DURATION, "mi max_inactivity",
           "max_inactivity mi maxinactivity",
           "Time without messages and subscriptions after which a channel is deleted"
           " (0s for never)", 0),
    _streaming("nats_server", Kind.TEXT, "ns nats_server", "nats_server_url ns nats_server",
               "NATS server to connect to, or several separated by commas"
               " (a NATS server is started otherwise)"),
    _streaming("stan_config", Kind.TEXT, "sc stan_config", "",
               "Streaming server configuration file"),
    _streaming("heartbeat_interval_ns", Kind.DURATION, "hbi hb_interval",
               "hb_interval hbi server_to_client_hb_interval",
               "Interval at which the server sends heartbeats to a client", 30 * SECOND_NS),
    _streaming("heartbeat_timeout_ns", Kind.DURATION, "hbt hb_timeout",
               "hb_timeout hbt server_to_client_hb_timeout",
               "How long the server waits for a heartbeat response", 10 * SECOND_NS),
    _streaming("heartbeat_fail_count", Kind.INTEGER, "hbf hb_fail_count",
               "hb_fail_count hbf server_to_client_hb_fail_count",
               "Failed heartbeats in a row before the server closes the client", 10),
    Option(STREAMING, "ft_group", Kind.TEXT, ("ft_group",), ("ft_group", "ft_group_name"),
           "Name of the fault tolerance group",
           refused="fault tolerance groups are not available in this version"),
    Option(STREAMING, "partitioning", Kind.BOOLEAN, (), ("partitioning",),
           "Serve only the channels listed in the limits", False,
           refused="channel partitioning is not available in this version"),
    _streaming("signal", Kind.TEXT, "sl signal", "",
               "Send a signal to a running server: stop, quit, reopen or reload,"
               " then =<pid or pid file>"),
    Option(STREAMING, "encrypt", Kind.BOOLEAN, ("encrypt",), ("encrypt",),
           "Encrypt message payloads at rest", False),
    Option(STREAMING, "encryption_cipher", Kind.TEXT, ("encryption_cipher",),
           ("encryption_cipher",),
           "Cipher for new messages: AES or CHACHA (default: AES on x86, otherwise CHACHA)"),
    Option(STREAMING, "encryption_key", Kind.TEXT, ("encryption_key",), ("encryption_key",),
           "Encryption key, which also turns encryption on; safer in the environment",
           environment="NATS_STREAMING_ENCRYPTION_KEY", environment_first=True, secret=True),
    _streaming("replace_durable", Kind.BOOLEAN, "replace_durable",
               "replace_durable replace_durables replace_duplicate_durable"
               " replace_duplicate_durables",
               "Replace an active durable instead of reporting a duplicate", False),
    Option(STREAMING, "io_batch_size", Kind.INTEGER, ("io_batch_size",), (),
           "Accepted for compatibility, without effect", 1024,
           ignored="batches follow the load by themselves"),
    Option(STREAMING, "io_sleep_time", Kind.INTEGER, ("io_sleep_time",), (),
           "Accepted for compatibility, without effect", 0,
           ignored="batches follow the load by themselves"),
    _streaming("cache_bytes", Kind.SIZE, "cache_bytes", "cache_bytes",
               "Memory for recent messages, from which live subscriptions are served",
               64 * 1024 * 1024),
    _streaming("intake_bytes", Kind.SIZE, "intake_bytes", "intake_bytes",
               "Memory for publishes that wait to be stored; more of them wait on disk",
               32 * 1024 * 1024),
    _streaming("intake_dir", Kind.TEXT, "intake_dir", "intake_dir",
               "Folder for the temporary files in which publishes wait"
               " (default: the system's)"),
    _streaming("spill_bytes", Kind.SIZE, "spill_bytes", "spill_bytes",
               "How much may wait on disk before publishes are refused (0 for unlimited)",
               4 * 1024 * 1024 * 1024),
    _streaming("test_timers", Kind.BOOLEAN, "test_timers", "",
               "For tests only: negative ack waits and ping intervals of clients are"
               " milliseconds", False),
    _streaming("check_config", Kind.BOOLEAN, "check_config", "",
               "Check the configuration, print what is in effect, and exit", False),
    _streaming("welcome", Kind.BOOLEAN, "welcome", "",
               "Once ready, tell a newcomer what to type next", False),

    Option(SQL, "sql_driver", Kind.TEXT, ("sql_driver",), ("sql.driver", "sql_options.driver"),
           "Database when the source does not tell: sqlite, postgres or mysql"),
    Option(SQL, "sql_source", Kind.TEXT, ("sql_source",), ("sql.source", "sql_options.source"),
           "Database: a SQLAlchemy URL, the original's data source, or the path of a SQLite"
           " file", environment="STAN_SQL_SOURCE", secret=True),
    Option(SQL, "sql_no_caching", Kind.BOOLEAN, ("sql_no_caching",),
           ("sql.no_caching", "sql_options.no_caching"),
           "Accepted for compatibility, without effect", False, ignored=_SINGLE_WRITER),
    Option(SQL, "sql_max_open_conns", Kind.INTEGER, ("sql_max_open_conns",),
           ("sql.max_open_conns", "sql.max_conns",
            "sql_options.max_open_conns", "sql_options.max_conns"),
           "Accepted for compatibility, without effect", 0,
           ignored="this server opens a handful of connections, never more"),
    Option(SQL, "sql_bulk_insert_limit", Kind.INTEGER, ("sql_bulk_insert_limit",),
           ("sql.bulk_insert_limit", "sql_options.bulk_insert_limit"),
           "Accepted for compatibility, without effect", 0, ignored=_SINGLE_WRITER),
    Option(SQL, "sql_durability", Kind.TEXT, ("sql_durability",),
           ("sql.durability", "sql_options.durability"),
           "full: a power cut loses nothing that was acknowledged; normal: it may lose the last"
           " moments; off: it may damage a SQLite file", "full"),
    Option(SQL, "sql_migrate", Kind.BOOLEAN, ("sql_migrate",),
           ("sql.migrate", "sql_options.migrate"),
           "Create or upgrade the schema at start; false: refuse, and run stan-server migrate",
           True),

    Option(TLS, "secure", Kind.BOOLEAN, ("secure",), ("secure",),
           "Use TLS to the NATS server", False),
    Option(TLS, "tls_client_key", Kind.TEXT, ("tls_client_key",), ("tls.client_key",),
           "Client key for the streaming server"),
    Option(TLS, "tls_client_cert", Kind.TEXT, ("tls_client_cert",), ("tls.client_cert",),
           "Client certificate for the streaming server"),
    Option(TLS, "tls_client_ca", Kind.TEXT, ("tls_client_cacert",),
           ("tls.client_ca", "tls.client_cacert"),
           "Certificate authority that the NATS server's certificate is checked against"),
    Option(TLS, "tls_server_name", Kind.TEXT, (), ("tls.server_name", "tls.server_hostname"),
           "Name expected in the NATS server's certificate"),
    Option(TLS, "tls_skip_verify", Kind.BOOLEAN, (), ("tls.insecure", "tls.skip_verify"),
           "Do not verify the NATS server's certificate", False),

    Option(LOGGING, "stan_debug", Kind.BOOLEAN, ("SD", "stan_debug"), ("stan_debug", "sd"),
           "Enable debugging output", False),
    Option(LOGGING, "stan_trace", Kind.BOOLEAN, ("SV", "stan_trace"), ("stan_trace", "sv"),
           "Trace the protocol", False),
    Option(LOGGING, "stan_debug_trace", Kind.BOOLEAN, ("SDV",), (), "Debug and trace", False),
    Option(LOGGING, "syslog_name", Kind.TEXT, ("syslog_name",), ("syslog_name",),
           "Accepted for compatibility, without effect", ignored="it concerns Windows services"),

    _nats(NATS, "address", Kind.TEXT, "a addr net", "Bind to host address", "0.0.0.0"),
    _nats(NATS, "port", Kind.INTEGER, "p port", "Port for clients (-1 for a free one)", 4222),
    _nats(NATS, "pid_file", Kind.TEXT, "P pid", "File to store the process ID in"),
    _nats(NATS, "http_port", Kind.INTEGER, "m http_port", "Port for monitoring over HTTP", 0),
    _nats(NATS, "https_port", Kind.INTEGER, "ms https_port",
          "Port for monitoring over HTTPS", 0),
    _nats(NATS, "http_address", Kind.TEXT, "http_addr",
          "Address for monitoring (default: that of -a)"),
    _nats(NATS, "nats_config", Kind.TEXT, "c config", "NATS server configuration file"),

    Option(NATS_LOGGING, "log_file", Kind.TEXT, ("l", "log"), ("log_file", "logfile"),
           "File to write the log to"),
    Option(NATS_LOGGING, "log_time", Kind.BOOLEAN, ("T", "logtime"), ("logtime",),
           "Timestamp log entries", True),
    Option(NATS_LOGGING, "syslog", Kind.BOOLEAN, ("s", "syslog"), ("syslog",),
           "Log to syslog", False),
    Option(NATS_LOGGING, "remote_syslog", Kind.TEXT, ("r", "remote_syslog"), ("remote_syslog",),
           "Syslog server, such as udp://localhost:514"),
    Option(NATS_LOGGING, "log_format", Kind.TEXT, ("log_format",), ("log_format",),
           "Log lines as text or json", "text"),
    _nats(NATS_LOGGING, "nats_debug", Kind.BOOLEAN, "D debug",
          "Enable debugging output of the NATS server", False),
    _nats(NATS_LOGGING, "nats_trace", Kind.BOOLEAN, "V trace",
          "Trace the raw NATS protocol", False),
    _nats(NATS_LOGGING, "nats_debug_trace", Kind.BOOLEAN, "DV",
          "Debug and trace the NATS server", False),

    Option(AUTHORIZATION, "user", Kind.TEXT, ("user",), ("username", "user"),
           "User name for connections to NATS"),
    Option(AUTHORIZATION, "password", Kind.TEXT, ("pass",), ("password", "pass"),
           "Password for connections to NATS", environment="STAN_PASS", secret=True),
    Option(AUTHORIZATION, "token", Kind.TEXT, ("auth",), ("token",),
           "Authorization token for connections to NATS", environment="STAN_AUTH", secret=True),
    Option(AUTHORIZATION, "credentials", Kind.TEXT, (), ("credentials",),
           "Credentials file for the connection to NATS"),
    Option(AUTHORIZATION, "nkey_seed_file", Kind.TEXT, (), ("nkey_seed_file",),
           "File with the NKey seed for the connection to NATS"),

    _nats(NATS_TLS, "nats_tls", Kind.BOOLEAN, "tls", "Enable TLS, do not verify clients", False),
    _nats(NATS_TLS, "nats_tls_cert", Kind.TEXT, "tlscert", "Server certificate file"),
    _nats(NATS_TLS, "nats_tls_key", Kind.TEXT, "tlskey", "Private key for server certificate"),
    _nats(NATS_TLS, "nats_tls_verify", Kind.BOOLEAN, "tlsverify",
          "Enable TLS, verify client certificates", False),
    _nats(NATS_TLS, "nats_tls_ca", Kind.TEXT, "tlscacert",
          "Client certificate CA for verification"),

    _nats(NATS_CLUSTER, "nats_routes", Kind.TEXT, "routes", "Routes to solicit and connect"),
    _nats(NATS_CLUSTER, "nats_cluster", Kind.TEXT, "cluster", "Cluster URL for solicited routes"),

    _nats(COMMON, "help", Kind.BOOLEAN, "h help", "Show this message", False),
    _nats(COMMON, "version", Kind.BOOLEAN, "v version", "Show version", False),
    _nats(COMMON, "help_tls", Kind.BOOLEAN, "help_tls", "TLS help", False),

    Option(CLUSTERING, "clustered", Kind.BOOLEAN, ("clustered",), (),
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

    _file(Kind.BOOLEAN, "file_compact_enabled", "compact compact_enabled"),
    _file(Kind.INTEGER, "file_compact_frag", "compact_frag compact_fragmentation"),
    _file(Kind.INTEGER, "file_compact_interval", "compact_interval"),
    _file(Kind.SIZE, "file_compact_min_size", "compact_min_size"),
    _file(Kind.SIZE, "file_buffer_size", "buffer_size"),
    _file(Kind.SIZE, "file_read_buffer_size", "read_buffer_size"),
    _file(Kind.BOOLEAN, "file_crc", "crc do_crc"),
    _file(Kind.INTEGER, "file_crc_poly", "crc_poly"),
    _file(Kind.BOOLEAN, "file_sync", "sync do_sync sync_on_flush"),
    _file(Kind.DURATION, "file_auto_sync", "auto_sync"),
    _file(Kind.INTEGER, "file_slice_max_msgs",
          "slice_max_msgs slice_max_count slice_msgs slice_count"),
    _file(Kind.SIZE, "file_slice_max_bytes",
          "slice_max_bytes slice_max_size slice_bytes slice_size"),
    _file(Kind.DURATION, "file_slice_max_age",
          "slice_max_age slice_max_time slice_age slice_time_limit"),
    _file(Kind.TEXT, "file_slice_archive_script",
          "slice_archive_script slice_archive slice_script"),
    _file(Kind.INTEGER, "file_fds_limit", "fds_limit file_descriptors_limit"),
    _file(Kind.INTEGER, "file_parallel_recovery", "parallel_recovery"),
    _file(Kind.BOOLEAN, "file_truncate_bad_eof", ""),
)  # fmt: skip
