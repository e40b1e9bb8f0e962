"""Where the data lives, in every form that people have it."""

import ssl
import sys

import pytest

from stan.errors import ConfigError
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.store.sql.sources import parse_source

POSTGRES = "postgres://stan@h:5433/db"


@pytest.mark.parametrize(
    ("driver", "source", "family", "location"),
    [
        ("", "data/stan.db", "sqlite", "data/stan.db"),
        ("sqlite", "/var/lib/stan", "sqlite", "/var/lib/stan"),
        ("", "sqlite:////var/stan.db", "sqlite", "/var/stan.db"),
        ("", "sqlite+aiosqlite:///stan.db", "sqlite", "stan.db"),
        ("postgres", "postgres://u:p@h:5432/db?sslmode=disable", "postgres", "u:***@h:5432/db"),
        ("", "postgresql+asyncpg://u:p@h/db", "postgres", "u:***@h/db"),
        ("postgres", "host=h port=5433 user=u password='p w' dbname=db", "postgres", "@h:5433/db"),
        ("mysql", "u:p@tcp(h:3307)/db", "mysql", "u:***@h:3307/db"),
        ("", "u:p@:/@tcp(h)/db?parseTime=true", "mysql", "u:***@h:3306/db"),
        ("mysql", "u:p@/db", "mysql", "u:***@127.0.0.1:3306/db"),
        ("", "u@tcp([::1]:3306)/db", "mysql", "u@[::1]:3306/db"),
        ("", "mysql+asyncmy://u:p@h:3306/db?charset=utf8mb4", "mysql", "u:***@h:3306/db"),
        ("", "mariadb://u:p@h/db", "mysql", "u:***@h/db"),
        ("mysql", "u:p@unix(/run/mysqld.sock)/db", "mysql", "u:***@127.0.0.1:3306/db"),
    ],
)
def test_a_source_is_understood(driver: str, source: str, family: str, location: str) -> None:
    parsed = parse_source(driver, source)
    assert parsed.family == family
    assert parsed.location.endswith(location)


def test_a_password_may_hold_anything_and_is_never_shown() -> None:
    parsed = parse_source("mysql", "u:p@s:w/ord(@tcp(h:3306)/db")
    assert parsed.url.password == "p@s:w/ord("
    parsed = parse_source("", "postgres://u:secret@h/db")
    assert parsed.url.password == "secret"
    assert "secret" not in parsed.location


@pytest.mark.parametrize(
    ("driver", "source", "words"),
    [
        ("oracle", "x", 'unknown SQL driver "oracle"'),
        ("", "", "needs a source"),
        ("mysql", "postgres://u@h/db", "does not fit"),
        ("", "oracle://u@h/db", 'unknown database "oracle"'),
        ("", "postgres://u@h", "names no database"),
        ("", "postgres://u@h/db?sslmode=sometimes", 'sslmode "sometimes"'),
        ("", "postgres://u@h/db?color=red&shape=x", "PostgreSQL source: color, shape"),
        ("", "u@tcp(h)/db?color=red", "MySQL source: color"),
        ("", "u@tcp(h:x)/db", 'port "x" is not a number'),
        ("", "sqlite:///a.db?color=red", "SQLite source: color"),
        ("mysql", "nonsense", "must read user"),
        ("postgres", "nonsense", "must read postgres"),
        ("", ":memory:", "store type MEMORY"),
        ("", "u@tcp(h)/db?tls=custom", 'tls "custom" is none of'),
        ("", "u@tcp(h)/db?timeout=soon", 'timeout "soon" is not a number'),
        ("", "postgres://u@h/db?prepared_statement_cache_size=few", "statement cache"),
    ],
)
def test_what_makes_no_sense_is_refused(driver: str, source: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_source(driver, source)


@pytest.mark.parametrize(
    ("source", "passed_on"),
    [
        (f"{POSTGRES}?sslmode=require", {"ssl": "require"}),
        (f"{POSTGRES}?ssl=verify-full&client_encoding=utf8", {"ssl": "verify-full"}),
        (f"{POSTGRES}?connect_timeout=3", {"timeout": 3}),
        (
            f"{POSTGRES}?prepared_statement_cache_size=0",
            {"prepared_statement_cache_size": 0, "statement_cache_size": 0},
        ),
        (
            f"{POSTGRES}?application_name=a&search_path=b",
            {"server_settings": {"application_name": "a", "search_path": "b"}},
        ),
        ("u@tcp(h)/db?timeout=4s&parseTime=true&tls=preferred", {"connect_timeout": 4}),
        ("u@unix(/run/my.sock)/db", {"unix_socket": "/run/my.sock"}),
    ],
)
def test_what_a_source_says_besides_is_passed_on(source: str, passed_on: dict[str, object]) -> None:
    assert parse_source("", source).connect_args == passed_on


def test_mysql_over_tls_checks_the_certificate_unless_told_not_to() -> None:
    checked = parse_source("", "u@tcp(h)/db?tls=true").connect_args["ssl"]
    assert (checked.check_hostname, checked.verify_mode) == (True, ssl.CERT_REQUIRED)
    unchecked = parse_source("", "u@tcp(h)/db?tls=skip-verify").connect_args["ssl"]
    assert (unchecked.check_hostname, unchecked.verify_mode) == (False, ssl.CERT_NONE)


def test_postgres_may_be_reached_by_the_folder_of_its_socket() -> None:
    assert parse_source("", "postgres://u@/db?host=/run/postgresql").url.host == "/run/postgresql"


def test_a_repeated_parameter_counts_as_said_last() -> None:
    parsed = parse_source("", f"{POSTGRES}?sslmode=disable&sslmode=require")
    assert parsed.connect_args == {"ssl": "require"}


def test_an_unreadable_url_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source("", "postgres://u:secret@h:port/db")
    assert "secret" not in str(caught.value)


def test_the_factory_knows_the_kinds() -> None:
    assert open_store("memory").kind == "MEMORY"
    assert open_store("sql", StoreSettings(sql_source="x.db")).location == "x.db"
    with pytest.raises(ConfigError, match="unknown store type: FILE"):
        open_store("FILE")
    with pytest.raises(ConfigError, match="durability"):
        open_store("SQL", StoreSettings(sql_source="x.db", durability="maybe"))
    with pytest.raises(ConfigError, match="innodb_flush_log_at_trx_commit"):
        open_store("SQL", StoreSettings(sql_source="u@tcp(h)/db", durability="off"))
    with pytest.raises(ConfigError, match="positive"):
        open_store("SQL", StoreSettings(sql_source="x.db", lease_s=0))


@pytest.mark.parametrize(
    ("source", "package"), [("postgres://u@h/db", "asyncpg"), ("u@tcp(h)/db", "asyncmy")]
)
def test_a_missing_driver_is_named_as_the_package_to_install(
    source: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"driver for \w+ is missing .*: pip install {package}$"):
        open_store("SQL", StoreSettings(sql_source=source))
