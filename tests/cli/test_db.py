"""Tests of `router db`: the schema is created, checked and printed, by nobody but who says so."""

import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from router import migrate
from router.log import EventLog
from tests.cli.conftest import Run
from tests.clusters import Server, find_psql
from tests.entries import append, make_entry

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

Patch = pytest.MonkeyPatch

KEEPER = """
from router import hookimpl
from sqlalchemy import Column, Integer, MetaData, Table, Text

metadata = MetaData()
Table("crm_contact", metadata, Column("id", Integer, primary_key=True), Column("name", Text))

@hookimpl
def tables():
    return metadata
"""


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
    second = run("db", "upgrade").out
    assert second == f"sqlite:///{nowhere}: at {migrate.head()} already\nnothing is to do\n"
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


def test_the_sql_for_postgresql_loads_with_psql(run: Run, postgres: Server) -> None:
    """Into an empty database, the tables of plugins too; then nothing differs, and all is read."""
    Path("handlers").mkdir(exist_ok=True)
    Path("handlers/keeper.py").write_text(KEEPER)
    name = postgres.make()
    url = postgres.url(name)
    script = run("db", "sql", "--dialect", "postgresql", "--plugins-dir", "handlers").out
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    subprocess.run(
        [find_psql(), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", plain],
        input=script.encode(),
        check=True,
        capture_output=True,
    )

    checked = run("db", "check", "--database", url, "--plugins-dir", "handlers", "--json")
    assert checked.code == 0
    assert checked.data == {"revision": migrate.head(), "drift": []}
    assert run("db", "upgrade", "--database", url).code == 0
    log = EventLog(url)
    append(log, make_entry(text="a % b"))
    with log.store.reading() as connection:
        query = text("SELECT payload, received_at FROM event_payload")
        [[payload, received_at]] = connection.execute(query).all()
    log.store.close()
    postgres.drop(name)
    assert "a % b" in payload
    assert received_at == "2026-01-01T12:00:00.000000Z"


def test_an_unknown_dialect_is_a_usage_error(run: Run) -> None:
    """It exits 2 and names those that there are."""
    result = run("db", "sql", "--dialect", "mysql")

    assert (result.code, "'sqlite', 'postgresql'" in result.err) == (2, True)


def test_a_database_url_that_is_none_is_a_usage_error(run: Run) -> None:
    """It exits 2 and says what cannot be read."""
    result = run("db", "sql", "--database", "router.db")

    assert (result.code, "cannot be read" in result.err) == (2, True)


# Tables of plugins.


@pytest.fixture
def handlers(run: Run) -> Path:
    """A folder with a plugin that keeps a table, and settings that name it."""
    folder = Path("handlers")
    folder.mkdir()
    (folder / "crm.py").write_text(KEEPER)
    Path("router.toml").write_text('plugins_dir = ["handlers"]')
    return folder


def test_upgrade_creates_the_tables_of_plugins(run: Run, nowhere: Path, handlers: Path) -> None:
    """It says which it made; a second upgrade has nothing to do, and the check passes."""
    assert run("db", "upgrade").out == (
        f"sqlite:///{nowhere}: no tables -> {migrate.head()}\n"
        "created table crm_contact of plugin crm\n"
    )
    assert run("db", "upgrade").out.splitlines()[1:] == ["nothing is to do"]
    assert run("db", "check").code == 0


def test_a_table_that_is_missing_keeps_the_worker_from_starting(run: Run, handlers: Path) -> None:
    """It names what is missing and the way out; `db check` does, too, for a folder in a flag."""
    started = run("worker")
    assert started.code == 1
    assert "lacks the table crm_contact of plugin 'crm'" in started.err
    assert "`router db upgrade`" in started.err

    Path("router.toml").unlink()
    checked = run("db", "check", "--plugins-dir", "handlers")
    assert checked.code == 3
    assert checked.out.endswith("\nplugin 'crm': table crm_contact is missing\n")


def test_a_broken_plugin_keeps_nobody_from_upgrading(
    run: Run, nowhere: Path, handlers: Path
) -> None:
    """The router's own tables are made, and those of other plugins; then it fails and says why."""
    (handlers / "bad.py").write_text("import no_such_module")

    result = run("db", "upgrade")

    assert result.code == 1
    assert "plugin 'bad': it cannot be imported" in result.err
    assert result.out.splitlines()[1:] == ["created table crm_contact of plugin crm"]
    assert run("db", "current").out == f"{migrate.head()}\n"
    checked = run("db", "check")
    assert (checked.code, "plugin 'bad': it cannot be imported" in checked.out) == (3, True)


def test_a_table_that_is_refused_keeps_nobody_from_upgrading(
    run: Run, nowhere: Path, handlers: Path
) -> None:
    """One that the database does not take is told with its plugin, after all others are made."""
    (handlers / "bad.py").write_text(KEEPER.replace("crm_contact", "sqlite_contact"))

    result = run("db", "upgrade")

    assert result.code == 1
    assert "plugin 'bad' were not created: object name reserved" in result.err
    assert result.out == (
        f"sqlite:///{nowhere}: no tables -> {migrate.head()}\n"
        "created table crm_contact of plugin crm\n"
    )


def test_the_sql_has_the_tables_of_plugins(run: Run, nowhere: Path, handlers: Path) -> None:
    """What is printed makes a database that passes the check."""
    shell = sqlite3.connect(nowhere)
    shell.executescript(run("db", "sql").out)
    shell.close()

    assert run("db", "check").out == f"at {migrate.head()}\n"
