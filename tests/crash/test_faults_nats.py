"""A server whose NATS connection goes away, comes back, or falls silent."""

import asyncio
from pathlib import Path

from tests.crash.trial import Plan, endure
from tests.tools.crash_site import CrashSite, SqliteData
from tests.tools.proxy import Proxy


async def test_the_nats_server_restarts(tmp_path: Path) -> None:
    site = CrashSite(SqliteData(tmp_path))

    async def restart() -> None:
        await asyncio.to_thread(site.nats.kill)
        await asyncio.to_thread(site.nats.start)

    await endure(site, Plan(kills=3, seed=41, fault=restart, lossy=True))
    assert "reconnected to NATS Server at" in site.output


async def test_all_promises_hold_when_the_connection_to_nats_is_cut(tmp_path: Path) -> None:
    site = CrashSite(SqliteData(tmp_path))
    proxy = Proxy(site.nats.port)
    await proxy.open()
    site.nats_url = f"nats://127.0.0.1:{proxy.port}"

    async def cut() -> None:
        proxy.cut()

    try:
        await endure(site, Plan(kills=8, seed=42, longest_run_s=0.3, fault=cut, lossy=True))
    finally:
        await proxy.close()


async def test_all_promises_hold_when_the_connection_to_nats_stalls(tmp_path: Path) -> None:
    site = CrashSite(SqliteData(tmp_path))
    proxy = Proxy(site.nats.port)
    await proxy.open()
    site.nats_url = f"nats://127.0.0.1:{proxy.port}"

    async def stall() -> None:
        proxy.stall()
        await asyncio.sleep(2)  # how long nothing passes
        proxy.restore()

    try:
        # Nothing is lost, but messages are sent again while their acks are held up.
        await endure(site, Plan(kills=2, seed=43, fault=stall))
    finally:
        await proxy.close()
