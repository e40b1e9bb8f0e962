"""What the child NATS server is told, made from the operator's file and flags."""

import ssl
from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.child.configuration import write_nats_configuration
from stan.server.child.nats_server import environment
from stan.server.child.room import choose_max_pending, find_memory_bytes
from stan.server.config.access import connection_options
from stan.server.config.config import load_config
from stan.server.config.language import parse_file, plain


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(*arguments: str) -> dict[str, object]:
    """Everything but what is told always."""
    tree = told_everything(*arguments)
    if tree["max_pending"] == choose_max_pending(find_memory_bytes()):
        del tree["max_pending"]
    return tree


def told_everything(*arguments: str) -> dict[str, object]:
    Path("child.conf").write_text(write_nats_configuration(load_config(arguments, {})))
    tree: dict[str, object] = plain(parse_file("child.conf"))
    return tree


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "nats.conf"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("memory", "pending"),
    [(128 << 20, 64 << 20), (512 << 20, 128 << 20), (1 << 30, 512 << 20), (64 << 30, 1 << 30)],
)
def test_a_connection_may_lag_as_far_as_the_memory_allows(memory: int, pending: int) -> None:
    assert choose_max_pending(memory) == pending


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_memory_is_that_of_the_container(tmp_path: Path, name: str) -> None:
    machine = find_memory_bytes(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for said, found in (("536870912\n", 512 << 20), ("max\n", machine), (f"{1 << 62}\n", machine)):
        (tmp_path / name).write_text(said)
        assert find_memory_bytes(tmp_path) == found


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("0::/system.slice/stan.service", "system.slice/stan.service/memory.max"),
        ("0::/system.slice/stan.service", "system.slice/memory.max"),
        ("3:cpu:/\n4:memory:/a/b", "memory/a/b/memory.limit_in_bytes"),
        ("4:hugetlb,memory:/gone\n0::/", "memory/memory.limit_in_bytes"),
    ],
)
def test_the_memory_is_that_of_the_service_or_of_what_it_is_in(
    tmp_path: Path, own: str, name: str
) -> None:
    (tmp_path / "own").write_text(own)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("536870912\n")
    assert find_memory_bytes(tmp_path, tmp_path / "own") == 512 << 20


def test_a_connection_may_lag_unless_the_operator_says_how_far(tmp_path: Path) -> None:
    assert told_everything()["max_pending"] == choose_max_pending(find_memory_bytes())
    for key in ("max_pending", "MAX_PENDING"):
        tree = told_everything("-c", write(tmp_path, f"{key}: 8MB"))
        assert {name.lower(): value for name, value in tree.items()}["max_pending"] == 8 << 20
        assert len(tree) == 3


def test_the_listener_is_the_defaults_or_the_flags() -> None:
    assert told() == {"port": 4222, "host": "0.0.0.0"}
    assert told("-p", "0")["port"] == 0  # which the NATS server takes for 4222, as ever
    assert told("-p", "-1", "-a", "127.0.0.1") == {"port": -1, "host": "127.0.0.1"}


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("port: 5000", [], {"port": 5000, "host": "0.0.0.0"}),
        ("port: 5000", ["-p", "6000"], {"port": 6000, "host": "0.0.0.0"}),
        ("listen: 1.2.3.4:5000", [], {"listen": "1.2.3.4:5000"}),
        ("listen: 1.2.3.4:5000", ["-p", "6000"], {"port": 6000, "host": "1.2.3.4"}),
        ("listen: 1.2.3.4:5000", ["-a", "::"], {"port": 5000, "host": "::"}),
        ("host: a", ["-p", "6000"], {"host": "a", "port": 6000}),
    ],
)
def test_flags_beat_the_listener_in_the_file(
    text: str, flags: list[str], expected: object, tmp_path: Path
) -> None:
    assert told("-c", write(tmp_path, text), *flags) == expected


def test_the_streaming_block_and_our_own_duties_are_taken_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "port: 1\nhost: h\nhttp: 8222\nlog_file: 'x'\nmax_payload: 8MB\nstreaming { id: a }",
    )
    assert told("-sc", path) == {"port": 1, "host": "h", "max_payload": 8 << 20}


def test_a_shared_file_is_told_apart_by_its_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        port: 1, host: h
        cluster_id: a
        store: memory
        store_limits { max_msgs: 5 }
        tls { client_cert: "c", cert_file: "s" }
        accounts { A { users: [ {user: "a\\"b", password: "x\\ty"} ] } }
        """,
    )
    assert told("-c", path) == {
        "port": 1,
        "host": "h",
        "tls": {"cert_file": "s"},
        "accounts": {"A": {"users": [{"user": 'a"b', "password": "x\ty"}]}},
    }


def test_flags_for_the_child_become_configuration() -> None:
    assert told(
        *("-user", "u", "-pass", "p", "-D", "-tls", "-tlscert", "c", "-tlskey", "k"),
        *("-routes", "nats://a:1,nats://b:2", "-cluster", "nats://x:y@0.0.0.0:6222"),
    ) == {
        "port": 4222,
        "host": "0.0.0.0",
        "debug": True,
        "authorization": {"user": "u", "password": "p"},
        "tls": {"cert_file": "c", "key_file": "k"},
        "cluster": {
            "listen": "0.0.0.0:6222",
            "authorization": {"user": "x", "password": "y"},
            "routes": ["nats://a:1", "nats://b:2"],
        },
    }


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("streaming { username: a, password: b }", [], None),
        ("authorization { user: a, password: b }", ["-auth", "t"], {"token": "t"}),
        (
            "authorization { user: a, password: b, timeout: 5 }",
            ["-user", "c", "-pass", "d"],
            {"user": "c", "password": "d", "timeout": 5},
        ),
        (
            "authorization { users: [ {user: a, password: b} ] }",
            ["-user", "a", "-pass", "b"],
            {"users": [{"user": "a", "password": "b"}]},
        ),
        ("accounts { A { users: [ {user: a, password: b} ] } }", ["-user", "a"], None),
    ],
)
def test_flags_say_who_gets_in_unless_the_file_has_a_list(
    text: str, flags: list[str], expected: object, tmp_path: Path
) -> None:
    assert told("-sc", write(tmp_path, text), *flags).get("authorization") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authorization { user: a, password: b }", "b"),
        ("authorization { user: a, password: '$2a$11$hash' }", "c"),
        ("authorization { users: [ {user: a, password: '$2a$11$hash'} ] }", "c"),
    ],
)
def test_a_password_that_is_kept_as_a_hash_is_told_us_in_the_streaming_block(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f"{text}, streaming {{ username: a, password: c }}")
    assert connection_options(load_config(["-sc", path], {}))["password"] == expected


@pytest.mark.parametrize("key", ["server_name: n", "server_hostname: n", "insecure: true"])
def test_whoever_says_how_to_verify_wants_tls(key: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"streaming {{ ns: 'nats://h:4222', tls {{ {key} }} }}")
    options = connection_options(load_config(["-sc", path], {}))
    assert isinstance(options["tls"], ssl.SSLContext)
    assert options.get("tls_hostname", "n") == "n"


def test_tls_without_a_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="TLS needs -tlscert and -tlskey"):
        told("-tls")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-user", "u", "-pass", "p"], {"user": "u", "password": "p"}),
        (["-auth", "t", "-user", "u"], {"token": "t"}),
        ([], {}),
    ],
)
def test_we_say_who_we_are(arguments: list[str], expected: dict[str, str]) -> None:
    options = connection_options(load_config(arguments, {}))
    assert options == {"name": "stan-server-test-cluster", **expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authorization { user: u, password: p }", {"user": "u", "password": "p"}),
        ("authorization { token: t }", {"token": "t"}),
        ("streaming { credentials: 'f' }", {"user_credentials": "f"}),
        ("streaming { nkey_seed_file: 'f' }", {"nkeys_seed": "f"}),
    ],
)
def test_the_file_says_who_we_are(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    options = connection_options(load_config(["-c", write(tmp_path, text)], {}))
    assert options == {"name": "stan-server-test-cluster", **expected}


def test_tls_files_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ConfigError, match="cannot use the TLS files: No such file"):
        connection_options(load_config(["-secure", "-tls_client_cacert", "/nonexistent"], {}))


def test_a_nats_server_keeps_its_memory_small_unless_told_otherwise() -> None:
    assert environment({"PATH": "/bin"}) == {"PATH": "/bin", "GOMEMLIMIT": "256MiB"}
    assert environment({"GOMEMLIMIT": "1GiB"}) == {"GOMEMLIMIT": "1GiB"}
