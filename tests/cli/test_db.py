"""Tests of `router db`: the schema is created, checked and printed, by nobody but who says so."""

import sqlite3
from pathlib import Path

import pytest

from router import migrate
from tests.cli.conftest import Run

Patch = pytest.MonkeyPatch


@pytest.fixture
def nowhere(run: Run, monkeypatch: Patch) -> Path:
    """A database that does not exist yet, and that the commands are pointed to."""
    monkeypatch.setenv("ROUTER_DATABASE", "sqlite:///new.db")
    return Path("new.db")


@pytest.fixture
def ours(run: Run, tmp_path: Path) -> sqlite3.Connection:
    """A second connection to the database of the commands."""
    return sqlite3.connect(tmp_path / "router.db", isolation_level=None)


def execute(connection: sqlite3.Connection, statement: str) -> None:
    """Change something behind the router's back."""
    connection.execute(statement)
    connection.close()


def test_upgrade_creates_and_says_so(run: Run, nowhere: Path) -> None:
    """A database comes into being by upgrade alone, and a second upgrade changes nothing."""
    assert run("db", "current").code == 1
    assert not nowhere.exists()

    assert run("db", "upgrade").out == f"sqlite:///{nowhere}: no tables -> {migrate.head()}\n"
    assert run("db", "upgrade").out == f"sqlite:///{nowhere}: at {migrate.head()} already\n"
    assert run("db", "current").out == f"{migrate.head()}\n"


def test_a_missing_database_is_not_made_by_looking(run: Run, nowhere: Path) -> None:
    """Commands that read name the one that creates."""
    for words in (["events", "list"], ["db", "check"], ["subscriptions", "list"]):
        result = run(*words)
        assert (result.code, "`router db upgrade`" in result.err) == (1, True)
    assert not nowhere.exists()


def test_the_revision_is_told(run: Run) -> None:
    """As text for a person, with the one that is needed for programs."""
    result = run("db", "current", "--json")

    assert result.data == {"revision": migrate.head(), "head": migrate.head()}


def test_an_empty_database_has_no_revision(run: Run, nowhere: Path) -> None:
    """It is told as such, with the revision that is needed."""
    sqlite3.connect(nowhere).close()

    result = run("db", "current")

    assert (result.code, result.out) == (0, "none\n")
    assert result.err == f"This version needs {migrate.head()}.\n"


def test_a_sound_database_passes(run: Run) -> None:
    """The check exits 0 with the revision."""
    assert run("db", "check").out == f"at {migrate.head()}\n"
    assert run("db", "check", "--json").data == {"revision": migrate.head(), "drift": []}


def test_drift_is_a_problem(run: Run, ours: sqlite3.Connection) -> None:
    """The check exits 3 with a line for each difference."""
    execute(ours, "DROP INDEX ix_event_subject_position")

    result = run("db", "check")
    assert result.code == 3
    assert "ix_event_subject_position is missing" in result.out

    [difference] = run("db", "check", "--json").data["drift"]
    assert "ix_event_subject_position" in difference


def test_a_revision_that_is_not_ours_is_a_failure(run: Run, ours: sqlite3.Connection) -> None:
    """A newer database is not compared with tables that are not its own."""
    execute(ours, "UPDATE router_schema_version SET version_num = '9999'")

    result = run("db", "check")

    assert (result.code, result.out) == (1, "")
    assert "revision 9999" in result.err


@pytest.mark.parametrize(("dialect", "type_"), [("sqlite", "BLOB"), ("postgresql", "BYTEA")])
def test_the_sql_is_printed(run: Run, dialect: str, type_: str) -> None:
    """For each engine, without a database."""
    result = run("db", "sql", "--dialect", dialect)

    assert result.code == 0
    assert "CREATE TABLE event " in result.out
    assert f"body {type_} NOT NULL" in result.out


def test_the_sql_is_that_of_the_configured_database(run: Run, tmp_path: Path) -> None:
    """Without a dialect the settings decide, and the database is not asked; the SQL works."""
    result = run("db", "sql", "--database", "postgresql://nowhere/router")
    assert "BYTEA" in result.out

    fresh = sqlite3.connect(tmp_path / "by_hand.db")
    fresh.executescript(run("db", "sql").out)
    fresh.close()
    assert run("db", "check", "--database", "sqlite:///by_hand.db").code == 0


def test_an_unknown_dialect_is_a_usage_error(run: Run) -> None:
    """It exits 2 and names those that there are."""
    result = run("db", "sql", "--dialect", "mysql")

    assert (result.code, "'sqlite', 'postgresql'" in result.err) == (2, True)


def test_a_database_url_that_is_none_is_a_usage_error(run: Run) -> None:
    """It exits 2 and says what cannot be read."""
    result = run("db", "sql", "--database", "router.db")

    assert (result.code, "cannot be read" in result.err) == (2, True)
