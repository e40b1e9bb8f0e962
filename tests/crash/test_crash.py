"""Twenty kills on each database; more by ``python -m tests.crash``."""

from pathlib import Path

import pytest

from tests.crash.trial import Plan, Report, Trial
from tests.tools.crash_site import CrashSite, Data, ServedData, SqliteData
from tests.tools.databases import DatabaseServer


async def attempt(data: Data, plan: Plan) -> Report:
    report = await Trial(CrashSite(data), plan, lambda line: None).run()
    print(report)
    assert report.faults == [], str(report)
    assert report.kills >= plan.kills
    return report


async def served(kind: str, request: pytest.FixtureRequest) -> Data:
    server: DatabaseServer = request.getfixturevalue(f"{kind}_server")
    return ServedData(server, await server.create_database())


async def test_kills_lose_nothing_on_sqlite(tmp_path: Path) -> None:
    report = await attempt(SqliteData(tmp_path), Plan(kills=20, seed=20, longest_run_s=0.5))
    assert 0 < report.acknowledged <= report.stored
    assert report.redelivered > 0


async def test_kills_lose_nothing_on_postgres(request: pytest.FixtureRequest) -> None:
    report = await attempt(
        await served("postgres", request), Plan(kills=20, seed=21, longest_run_s=0.5)
    )
    assert 0 < report.acknowledged <= report.stored


async def test_kills_lose_nothing_on_mariadb(request: pytest.FixtureRequest) -> None:
    report = await attempt(await served("mysql", request), Plan(kills=6, seed=22))
    assert 0 < report.acknowledged <= report.stored


async def test_kills_amid_large_commits_lose_nothing(tmp_path: Path) -> None:
    report = await attempt(SqliteData(tmp_path), Plan(kills=4, heavy=True, seed=23))
    # Commits were large enough for a kill to meet one: some fates stay unknown.
    assert 0 < report.acknowledged <= report.stored


async def test_kills_amid_large_statements_lose_nothing(request: pytest.FixtureRequest) -> None:
    plan = Plan(kills=4, heavy=True, seed=24)
    report = await attempt(await served("postgres", request), plan)
    assert 0 < report.acknowledged <= report.stored
