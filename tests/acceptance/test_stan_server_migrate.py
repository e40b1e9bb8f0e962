"""stan-server migrate, and a server that may not migrate by itself."""

from pathlib import Path

import pytest

from stan.cli.server import main


def migrate(*flags: str) -> int:
    return main(["migrate", *flags])


def test_a_schema_is_created_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(tmp_path / "stan.db")
    assert migrate("--sql_source", source, "--check") == 1
    assert "there is no schema" in capsys.readouterr().out
    assert migrate("--sql_source", source, "--dry-run") == 0
    assert "would create revision" in capsys.readouterr().out
    assert migrate("--sql_source", source) == 0
    assert "upgraded from no schema to" in capsys.readouterr().out
    assert migrate("--sql_source", source, "--check") == 0
    assert "the schema is current" in capsys.readouterr().out


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "mysql"])
def test_the_sql_is_shown_without_a_connection(
    driver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {
        "sqlite": "some/where.db",
        "postgres": "postgres://u@127.0.0.1:1/db",
        "mysql": "u@tcp(127.0.0.1:1)/db",
    }
    assert migrate("--sql_source", sources[driver], "--sql") == 0
    assert "CREATE TABLE stan_messages" in capsys.readouterr().out


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate() == 1
    assert "needs a source" in capsys.readouterr().err
    foreign = tmp_path / "notes.txt"
    foreign.write_text("this is no database, and it is long enough to be looked at" * 20)
    assert migrate("--sql_source", str(foreign)) == 1
    assert "is not an SQLite database" in capsys.readouterr().err
    assert migrate("--nonsense") == 2


def test_a_server_may_be_forbidden_to_migrate(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = str(tmp_path / "stan.db")
    flags = ["-p", "-1", "-a", "127.0.0.1", "-st", "SQL", "--sql_source", source]
    assert main([*flags, "--sql_migrate=false"]) == 1
    assert "the database has no schema yet, and migrating is forbidden" in capfd.readouterr().err
