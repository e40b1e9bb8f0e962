"""A server whose NATS connection goes away, comes back, or falls silent."""

import asyncio
from pathlib import Path

from tests.crash.trial import Plan, Trial
from tests.tools.crash_site import Ground, SqliteData
from tests.tools.proxy import Proxy


async def endure(ground: Ground, plan: Plan) -> None:
    report = await Trial(ground, plan, lambda line: None).run()
    print(report)
    assert report.faults == [], str(report)
    assert report.acknowledged > 0


async def test_the_nats_server_restarts(tmp_path: Path) -> None:
    ground = Ground(SqliteData(tmp_path))

    async def restart() -> None:
        await asyncio.to_thread(ground.nats.kill)
        await asyncio.to_thread(ground.nats.start)

    await endure(ground, Plan(kills=3, seed=41, fault=restart, lossy=True))
    assert "reconnected to NATS Server at" in ground.output


async def test_the_connection_to_nats_is_cut(tmp_path: Path) -> None:
    ground = Ground(SqliteData(tmp_path))
    proxy = Proxy(ground.nats.port)
    await proxy.open()
    ground.nats_url = f"nats://127.0.0.1:{proxy.port}"

    async def cut() -> None:
        proxy.cut()

    try:
        await endure(ground, Plan(kills=8, seed=42, longest_run_s=0.3, fault=cut, lossy=True))
    finally:
        await proxy.close()


async def test_the_connection_to_nats_stalls_for_a_while(tmp_path: Path) -> None:
    ground = Ground(SqliteData(tmp_path))
    proxy = Proxy(ground.nats.port)
    await proxy.open()
    ground.nats_url = f"nats://127.0.0.1:{proxy.port}"

    async def stall() -> None:
        proxy.stall()
        await asyncio.sleep(2)  # how long nothing passes
        proxy.restore()

    try:
        # Nothing is lost, but messages are sent again while their acks are held up.
        await endure(ground, Plan(kills=2, seed=43, fault=stall))
    finally:
        await proxy.close()
