"""Configurations in the shapes in which people have them, and what they mean here.

Each is written for this test in the manner of a kind of deployment: config maps, charts,
compose files, unit files. What is asserted is the meaning, or the one line that refuses.
"""

from pathlib import Path

import pytest

from stan.engine.limits import ChannelLimits
from stan.errors import ConfigError
from stan.server.child.configuration import read_nats_tree
from stan.server.config.access import connection_options
from stan.server.config.config import Config, load_config
from stan.server.monitor.listeners import find_listener
from tests.tools.identities import Authority

HOUR_NS = 3600 * 10**9


def load(tmp_path: Path, text: str, *flags: str) -> Config:
    path = tmp_path / "stan.conf"
    path.write_text(text)
    config = load_config(["-sc", str(path), *flags], {})
    config.check()
    return config


def refusal(tmp_path: Path, text: str, *flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_config_map_with_limits_per_channel(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        ##############################
        # mounted at /etc/stan-config
        ##############################
        http = 8222

        streaming {
          ns: "nats://nats:4222"
          id: shop
          store: "sql"
          sql {
            driver: mysql
            source: "stan:hush@tcp(mysql.db.svc:3306)/stan?readTimeout=5s&writeTimeout=5s"
            max_open_conns: 5
          }
          store_limits {
            max_channels: 500
            max_msgs: 100000
            max_bytes: 256MB
            max_age: "24h"
            channels {
              # everything of a shop
              "shop.>" { max_msgs: 0, max_age: "168h" }
              "shop.*.clicks" = { max_bytes: 64MB, max_inactivity: "1h" }
              audit { max_age: "0s", max_bytes: 0, max_msgs: 0; max_subs: 5 }
            }
          }
        }
        """,
    )
    limits = config.limits
    assert limits.max_channels == 500
    assert limits.resolve("other") == ChannelLimits(1000, 100_000, 256 << 20, 24 * HOUR_NS, 0)
    assert limits.resolve("shop.a.b") == ChannelLimits(1000, 0, 256 << 20, 168 * HOUR_NS, 0)
    assert limits.resolve("shop.a.clicks") == ChannelLimits(
        1000, 0, 64 << 20, 168 * HOUR_NS, HOUR_NS
    )
    assert limits.resolve("audit") == ChannelLimits(5, 0, 0, 0, 0)
    [warning] = config.warnings
    assert warning.startswith("-sql_max_open_conns has no effect")
    listener = find_listener(config)
    assert listener is not None
    assert (listener.scheme, listener.port) == ("http", 8222)


CHART = """
    pid_file: "/var/run/stan/stan.pid"
    http: 8222
    streaming {
      id: stan
      ns: nats://my-nats:4222
      %s
      store_limits { max_channels: 100, max_msgs: 10000000, max_subs: 0, max_bytes: 10GB }
    }
"""


def test_the_file_of_a_chart_with_the_memory_store(tmp_path: Path) -> None:
    config = load(tmp_path, CHART % "store: memory\nreplace_durable: true", "-SDV", "-D=false")
    assert (config.store, config.replace_durable, config.stan_debug_trace) == ("MEMORY", True, True)
    assert (config.max_subscriptions, config.max_bytes) == (0, 10 << 30)
    assert config.nats_servers == ["nats://my-nats:4222"]
    assert config.warnings == []


def test_the_file_of_a_chart_with_the_file_store(tmp_path: Path) -> None:
    store = 'store: file\ndir: "/data/stan/store"\nfile_options { compact: true, fds_limit: 1024 }'
    told = refusal(tmp_path, CHART % store)
    assert told.startswith("this server has no FILE store: use -st SQL --sql_source")
    assert "stan-server import --from_dir" in told
    # One flag overrides it, and says of what remains that it does nothing.
    config = load(tmp_path, CHART % store, "-st", "SQL", "--sql_source", "/data/stan/stan.db")
    assert (config.store, config.sql_source) == ("SQL", "/data/stan/stan.db")
    answered = [warning.partition(" has no effect: ") for warning in config.warnings]
    assert [name for name, _, _ in answered] == ["-dir", "-file_compact_enabled", "-file_fds_limit"]


def test_the_file_of_a_chart_with_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "stan-0")
    cluster = """
      store: sql, sql { source: "/data/stan.db" }
      cluster {
        node_id: $POD_NAME
        log_path: "/data/stan/log"
        peers: ["stan-0", "stan-1", "stan-2"]
      }
    """
    assert refusal(tmp_path, CHART % cluster).endswith(
        "clustering by Raft is not offered; run the server under a supervisor with a SQL store"
    )


def test_a_fault_tolerance_group_on_a_database(tmp_path: Path) -> None:
    group = (
        'store: SQL, ft_group_name: "stan"\nsql_options { driver: postgres, source: "dbname=x" }'
    )
    config = load(tmp_path, CHART % group)
    config.check()
    assert (config.ft_group, config.ft_lease_ns) == ("stan", 3 * 10**9)
    assert (config.store, config.warnings) == ("SQL", [])


def test_a_partition(tmp_path: Path) -> None:
    part = "store: memory, partitioning: true"
    # The chart's limits name no channel, so there is none that this partition would serve.
    assert refusal(tmp_path, CHART % part) == "stan: no configured channel"


def test_a_sidecar_with_tls_and_credentials(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    issued = authority.issue("client", "stan")
    config = load(
        tmp_path,
        f"""
        streaming: {{
          cluster_id: "secure"
          nats_server_url: "tls://n1.example:4222, tls://n2.example:4222"
          credentials: "/etc/nats/stan.creds"
          secure: true
          tls: {{
            client_cert: "{issued.certificate}"
            client_key: "{issued.key}"
            client_cacert: "{authority.file}"
            server_hostname: "nats.example"
          }}
        }}
        """,
    )
    options = connection_options(config)
    assert options["user_credentials"] == "/etc/nats/stan.creds"
    assert options["tls"].check_hostname
    assert options["tls_hostname"] == "nats.example"
    assert config.nats_servers == ["tls://n1.example:4222", "tls://n2.example:4222"]


def test_one_file_without_blocks_for_both_servers(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        # nats-server
        listen: 0.0.0.0:4333
        monitor_port: 8333
        max_payload: 4MB
        authorization { user: app, password: "s3cret", timeout: 2 }
        tls { cert_file: "/tls/server.pem", key_file: "/tls/server.key" }
        # streaming
        cluster_id: "both"
        store: "MEMORY"
        limits { mc: 5, mm: 6, mb: 7k, ma: "8s" }
        hbi: "20s", hbt: "5s", hbf: 3
        sd: true
        """,
    )
    assert (config.cluster_id, config.stan_debug, config.is_embedded) == ("both", True, True)
    assert config.limits.defaults == ChannelLimits(1000, 6, 7_000, 8 * 10**9, 0)
    assert config.heartbeat_fail_count == 3
    nats = read_nats_tree(config)
    assert {"listen", "max_payload", "authorization", "tls"} <= nats.keys()
    assert nats.keys().isdisjoint({"cluster_id", "limits", "hbi", "sd", "store"})


def test_the_command_line_of_a_compose_file() -> None:
    config = load_config(
        [
            *("-cid", "test-cluster", "-p", "4222", "-m", "8222", "--store=sql"),
            *("--sql_driver", "postgres", "--sql_no_caching=false", "--sql_max_open_conns", "10"),
            *("--hb_interval", "10s", "--hb_fail_count=2", "--max_age=72h", "-mc", "0"),
            *("-SD", "-SV=false", "--logtime=false", "-DV", "-encrypt=false"),
        ],
        {"STAN_SQL_SOURCE": "postgres://stan:hush@db/stan?sslmode=disable&readTimeout=5s"},
    )
    config.check()
    assert (config.store, config.http_port, config.max_channels) == ("SQL", 8222, 0)
    assert (config.max_age_ns, config.heartbeat_interval_ns) == (72 * HOUR_NS, 10 * 10**9)
    assert (config.stan_debug, config.stan_trace, config.log_time) == (True, False, False)
    assert [warning.partition(" has")[0] for warning in config.warnings] == ["-sql_max_open_conns"]


def test_the_command_line_of_a_fault_tolerant_pair() -> None:
    with pytest.raises(ConfigError, match="this server has no FILE store"):
        load_config(["-store", "file", "-dir", "/nfs/stan", "-ft_group", "a", "-cid", "c"], {})
    config = load_config(["-store", "sql", "-sql_source", "x.db", "-ft_group", "a"], {})
    config.check()
    assert config.ft_group == "a"


def test_the_command_line_of_a_cluster_node() -> None:
    with pytest.raises(ConfigError, match="-clustered: clustering by Raft is not offered"):
        load_config(
            [
                *("-store", "sql", "-clustered", "-cluster_node_id", "a", "-cluster_peers", "b,c"),
                *("-cluster", "nats://127.0.0.1:6222", "-routes", "nats://127.0.0.1:6223"),
            ],
            {},
        )
