"""Where the data lives, from the operator's words: a SQLAlchemy URL, a path, or a data
source string of the original server.

Nothing here connects. Invariant: every parameter is understood or named in a ConfigError,
and `Source.location` holds no password.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from stan.errors import ConfigError

_DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}
_FAMILIES = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgres",
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_GO_MYSQL = re.compile(
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>.*))?@)?"
    r"(?:(?P<net>tcp|unix)(?:\((?P<address>[^)]*)\))?)?/(?P<database>[^/?]*)(?:\?(?P<query>.*))?$"
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Settings of the original's drivers that change nothing here: text is always UTF-8 and times
# are integers.
_POSTGRES_IGNORED = frozenset({"client_encoding", "fallback_application_name"})
_MYSQL_IGNORED = frozenset({"parseTime", "loc", "charset", "collation", "interpolateParams"})


@dataclass(frozen=True)
class Source:
    """A place for data: `family` is sqlite, postgres or mysql."""

    family: str
    url: URL
    location: str
    connect_args: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file of an SQLite source."""
        return Path(self.url.database or "")


def parse_source(driver: str, source: str) -> Source:
    """Understand --sql_driver and --sql_source. Raises ConfigError."""
    if driver and driver.lower() not in _FAMILIES:
        raise ConfigError(f'unknown SQL driver "{driver}": use sqlite, postgres or mysql')
    if not source:
        raise ConfigError("the SQL store needs a source: a path or a database URL")
    wanted = _FAMILIES.get(driver.lower(), "")
    parsed = _parse(source, wanted)
    if wanted and parsed.family != wanted:
        raise ConfigError(f"SQL driver {driver} does not fit the source {parsed.location}")
    return parsed


def _parse(source: str, wanted: str) -> Source:
    if "://" in source:
        return _parse_url(source)
    if wanted == "mysql" or re.search(r"@(tcp|unix)\(|^(tcp|unix)\(", source):
        return _parse_go_mysql(source)
    if wanted == "postgres":
        return _parse_keywords(source)
    return _sqlite(URL.create("sqlite", database=source))


def _parse_url(source: str) -> Source:
    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        scheme = source.partition("://")[0]
        raise ConfigError(f"the SQL source {scheme}://... is not a valid URL") from None
    family = _FAMILIES.get(url.drivername.partition("+")[0])
    if family is None:
        raise ConfigError(f'unknown database "{url.drivername}": use sqlite, postgresql or mysql')
    if family == "sqlite":
        return _sqlite(url)
    query = {name: _single(value) for name, value in url.query.items()}
    if family == "postgres":
        return _postgres(url.set(query={}), query)
    return _mysql(url.set(query={}), query)


def _single(value: tuple[str, ...] | str) -> str:
    return value if isinstance(value, str) else value[-1]


def _sqlite(url: URL) -> Source:
    path = url.database or ""
    if path in ("", ":memory:") or path.startswith("file:"):
        raise ConfigError("the SQL store needs a file; for memory use the store type MEMORY")
    _refuse_unknown("SQLite", url.query)
    return Source("sqlite", URL.create("sqlite", database=path), path)


def _postgres(url: URL, query: dict[str, str]) -> Source:
    args: dict[str, Any] = {}
    for name in _POSTGRES_IGNORED:
        query.pop(name, None)
    sslmode = query.pop("sslmode", query.pop("ssl", ""))
    if sslmode:
        if sslmode not in _SSL_MODES:
            raise ConfigError(f'sslmode "{sslmode}" is none of {", ".join(_SSL_MODES)}')
        args["ssl"] = sslmode
    timeout_s = query.pop("connect_timeout", "")
    if timeout_s:
        args["timeout"] = _number("connect_timeout", timeout_s)
    settings = {
        name: query.pop(name) for name in ("application_name", "search_path") if name in query
    }
    if settings:
        args["server_settings"] = settings
    # Without prepared statements a transaction pooler may stand in between.
    cache = query.pop("prepared_statement_cache_size", "")
    if cache:
        args["prepared_statement_cache_size"] = int(_number("statement cache", cache))
        args["statement_cache_size"] = args["prepared_statement_cache_size"]
    if "host" in query:  # a directory with a socket
        url = url.set(host=query.pop("host"))
    _refuse_unknown("PostgreSQL", query)
    return _networked("postgres", url, args)


def _mysql(url: URL, query: dict[str, str]) -> Source:
    args: dict[str, Any] = {}
    for name in _MYSQL_IGNORED:
        query.pop(name, None)
    timeout_s = query.pop("timeout", query.pop("connect_timeout", ""))
    if timeout_s:
        args["connect_timeout"] = _number("timeout", timeout_s)
    if "unix_socket" in query:
        args["unix_socket"] = query.pop("unix_socket")
    tls = query.pop("tls", "false")
    if tls in ("true", "skip-verify"):
        args["ssl"] = _tls_context(verify=tls == "true")
    elif tls not in ("false", "preferred"):
        raise ConfigError(f'tls "{tls}" is none of true, skip-verify, preferred, false')
    _refuse_unknown("MySQL", query)
    return _networked("mysql", url, args)


def _tls_context(*, verify: bool) -> Any:
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _networked(family: str, url: URL, args: dict[str, Any]) -> Source:
    url = url.set(drivername=_DRIVERS[family])
    if not url.database:
        raise ConfigError("the SQL source names no database")
    location = url.set(drivername=family).render_as_string(hide_password=True)
    return Source(family, url, location, args)


def _parse_go_mysql(source: str) -> Source:
    match = _GO_MYSQL.match(source)
    if match is None:
        raise ConfigError("the MySQL source must read user:password@tcp(host:port)/database")
    address = match["address"] or ""
    query = _parse_query(match["query"] or "")
    host: str | None = "127.0.0.1"
    port = 3306
    if match["net"] == "unix":
        query["unix_socket"] = address
    elif address:
        host, port = _split_address(address)
    url = URL.create(
        "mysql", match["user"] or None, match["password"], host, port, match["database"]
    )
    return _mysql(url, query)


def _split_address(address: str) -> tuple[str, int]:
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    return host or "127.0.0.1", int(_number("port", port or "3306"))


def _parse_keywords(source: str) -> Source:
    """`host=... dbname=...`, the other form that PostgreSQL's users know."""
    query: dict[str, str] = {}
    for word in re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", source):
        query[word[0]] = re.sub(r"\\(.)", r"\1", word[1].strip("'"))
    if "dbname" not in query:
        raise ConfigError("the PostgreSQL source must read postgres://user:password@host:5432/db")
    url = URL.create(
        "postgresql",
        query.pop("user", None),
        query.pop("password", None),
        query.pop("host", "127.0.0.1"),
        int(_number("port", query.pop("port", "5432"))),
        query.pop("dbname"),
    )
    return _postgres(url, query)


def _parse_query(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split("&") if part)
    return {name: unquote(value) for name, _, value in pairs}


def _number(name: str, text: str) -> float:
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise ConfigError(f'{name} "{text}" is not a number') from None


def _refuse_unknown(database: str, query: Any) -> None:
    if query:
        names = ", ".join(sorted(query))
        raise ConfigError(f"unknown parameter in the {database} source: {names}")
