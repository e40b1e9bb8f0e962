"""The example of a shop: every order has one invoice, whatever was killed."""

import asyncio
import sys
from pathlib import Path

from stan.store.sql.sources import parse_source

from .conftest import Home

EXAMPLE = Path(__file__).parents[2] / "examples" / "orders" / "main.py"
DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql", "mysql": "mysql"}


async def test_each_order_has_one_invoice(home: Home) -> None:
    url = parse_source(home.kind, home.source).url.set(drivername=DRIVERS[home.kind])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), "--seconds", "8"),
        *("--database", url.render_as_string(hide_password=False)),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        out, _ = await process.communicate()
    words = out.decode().split()
    assert words[0::2][:2] == ["orders", "invoices"]
    assert int(words[1].rstrip(",")) == int(words[3]) > 0
    assert process.returncode == 0
