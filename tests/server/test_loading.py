"""What a process does not load: it would be waited for at every start."""

import subprocess
import sys

import pytest

_SERVER = ("stan.server", "stan.store", "stan.engine", "sqlalchemy", "alembic", "aiohttp")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("stan", _SERVER),
        ("stan.cli.server", ("sqlalchemy", "alembic", "aiohttp", "stan.store", "stan.console")),
        ("stan.server.serving", ("sqlalchemy", "alembic", "aiohttp")),
        (
            "stan.store.sql.store",
            (
                "alembic",
                "aiohttp",
                "sqlalchemy.ext.asyncio",
                "sqlalchemy.orm",
                "sqlalchemy.dialects.mysql",
            ),
        ),
    ],
)
def test_importing_loads_nothing_that_is_not_needed(module: str, unwanted: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = shown.stdout.decode().split()
    assert module in loaded
    assert not set(unwanted) & set(loaded)


def test_everybody_else_finds_the_real_aiohttp() -> None:
    script = (
        "import sys, stan, nats.aio.transport as transport; before = 'aiohttp' in sys.modules;"
        "transport.aiohttp.ClientSession; import aiohttp;"
        "print(before, transport.aiohttp.ClientSession is aiohttp.ClientSession)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert shown.stdout.decode().split() == ["False", "True"]
