"""Upgrades: what is refused, how differences are told, and that nothing stays half done."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, make_url

from router import migrate, sqlite
from router.errors import SchemaError
from router.schema import Tables, make_tables

ROOT = Path(__file__).parents[1]
SET_REVISION = "UPDATE router_schema_version SET version_num = '{}'"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    engine = sqlite.open_engine(make_url(f"sqlite:///{tmp_path / 'router.db'}"), create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def tables() -> Tables:
    """The tables under no schema and no prefix."""
    return make_tables()


def execute(engine: Engine, *statements: str) -> None:
    """Run statements as somebody else would who has the same database open."""
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def definitions(engine: Engine) -> dict[str, str]:
    """The text by which SQLite remembers each table and index."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL"
        )
        return {row.name: row.sql for row in rows}


def test_the_newest_script_is_the_revision_that_is_needed(engine: Engine, tables: Tables) -> None:
    """Files are numbered as the revisions in them are, each of which is known."""
    scripts = ScriptDirectory(str(Path(migrate.__file__).with_name("migrations")))

    assert scripts.get_current_head() == migrate.head()
    migrate.upgrade(engine, tables)
    for script in scripts.walk_revisions():
        execute(engine, SET_REVISION.format(script.revision))
        migrate.upgrade(engine, tables, revision=script.revision)  # refuses one that is unknown
        assert migrate.current(engine, tables) == script.revision


def test_two_logs_fit_into_one_database(engine: Engine, tables: Tables) -> None:
    """Logs under different prefixes have revisions of their own."""
    other = make_tables(prefix="other_")

    migrate.upgrade(engine, tables)

    assert migrate.current(engine, other) is None
    migrate.upgrade(engine, other)
    assert migrate.find_drift(engine, tables) == migrate.find_drift(engine, other) == []


def test_tables_of_others_are_left_alone(engine: Engine, tables: Tables) -> None:
    """A host's tables in the same database are neither changed nor reported."""
    execute(
        engine,
        "CREATE TABLE customer (id INTEGER PRIMARY KEY)",
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('the host''s own')",
    )

    migrate.upgrade(engine, tables)

    assert migrate.find_drift(engine, tables) == []
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    assert found == "the host's own"


def test_a_second_upgrade_changes_nothing(engine: Engine, tables: Tables) -> None:
    """Upgrading a database that is there already is no error."""
    migrate.upgrade(engine, tables)
    before = definitions(engine)

    migrate.upgrade(engine, tables)

    assert definitions(engine) == before


def test_a_failed_upgrade_leaves_nothing(engine: Engine, tables: Tables) -> None:
    """Where a table cannot be made, those made before it are gone too, and the error says so."""
    execute(engine, "CREATE TABLE replay (id INTEGER)")  # among the last that are made

    with pytest.raises(SchemaError, match=r"is as it was: table replay already exists"):
        migrate.upgrade(engine, tables)

    assert inspect(engine).get_table_names() == ["replay"]


def test_processes_may_upgrade_at_once(engine: Engine, tables: Tables, tmp_path: Path) -> None:
    """Each of several processes that upgrade the same new database succeeds."""
    script = (
        "import sys; from sqlalchemy import make_url; from router import migrate, sqlite;"
        "from router.schema import make_tables;"
        "engine = sqlite.open_engine(make_url(sys.argv[1]), create=True);"
        "sys.stdin.readline(); migrate.upgrade(engine, make_tables())"
    )
    url = f"sqlite:///{tmp_path / 'router.db'}"
    command = [sys.executable, "-c", script, url]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.flush()

    errors = [process.communicate()[1].decode() for process in started]

    assert [process.returncode for process in started] == [0, 0, 0], errors
    assert migrate.find_drift(engine, tables) == []


def test_threads_may_upgrade_at_once(tmp_path: Path) -> None:
    """Several logs of one process are upgraded from threads of their own, each to the end."""

    def create(name: str) -> list[str]:
        url, tables = make_url(f"sqlite:///{tmp_path / name}"), make_tables(prefix=f"{name}_")
        engine = sqlite.open_engine(url, create=True)
        migrate.upgrade(engine, tables)
        drift = migrate.find_drift(engine, tables)
        engine.dispose()
        return drift

    with ThreadPoolExecutor() as threads:
        assert list(threads.map(create, "abcd")) == [[]] * 4


def test_an_empty_database_is_refused(engine: Engine, tables: Tables) -> None:
    """The refusal names the revision that is needed and the command."""
    with pytest.raises(SchemaError, match=r"is empty: .* revision 0\d+; .*`router db upgrade`"):
        migrate.require_current(engine, tables)


def test_an_older_database_is_refused(engine: Engine, tables: Tables) -> None:
    """The refusal names both revisions and the command."""
    migrate.upgrade(engine, tables)
    execute(engine, SET_REVISION.format("0000"))

    with pytest.raises(SchemaError, match=rf"revision 0000, .*{migrate.head()}"):
        migrate.require_current(engine, tables)


@pytest.mark.parametrize("action", [migrate.require_current, migrate.upgrade, migrate.find_drift])
def test_a_newer_database_is_refused(engine: Engine, tables: Tables, action: object) -> None:
    """Nothing touches a database of a newer version; the refusal says the ways out."""
    migrate.upgrade(engine, tables)
    execute(engine, SET_REVISION.format("9999"))

    assert callable(action)
    with pytest.raises(
        SchemaError,
        match=rf"revision 9999, newer than {migrate.head()}, .*"
        "install the newer notification-router, or restore a backup",
    ):
        action(engine, tables)


def test_an_unknown_revision_is_an_error(engine: Engine, tables: Tables) -> None:
    """Asking for a revision that does not exist changes nothing."""
    with pytest.raises(SchemaError, match="nowhere"):
        migrate.upgrade(engine, tables, revision="nowhere")

    assert inspect(engine).get_table_names() == []


def test_drift_is_said_in_words(engine: Engine, tables: Tables) -> None:
    """Each thing that somebody changed by hand is one line."""
    migrate.upgrade(engine, tables)
    execute(
        engine,
        "DROP VIEW event_payload",
        "DROP INDEX ix_event_subject_position",
        "CREATE INDEX mine ON event (channel)",
        "DROP TABLE audit",
        "ALTER TABLE worker ADD COLUMN colour TEXT",
        "ALTER TABLE worker DROP COLUMN host",
        "DROP TABLE alias",
        "CREATE TABLE alias (channel VARCHAR(255), contact VARCHAR(255), conversation INTEGER,"
        " PRIMARY KEY (channel, contact))",
    )

    assert sorted(migrate.find_drift(engine, tables)) == [
        "column alias.channel: nullable is True and should be False",
        "column alias.contact: nullable is True and should be False",
        "column alias.conversation: nullable is True and should be False",
        "column alias.conversation: type is INTEGER() and should be Text()",
        "column worker.colour is not ours",
        "column worker.host is missing",
        "index ix_event_subject_position is missing",
        "index mine is not ours",
        "table audit is missing",
        "view event_payload is missing",
    ]


def test_drift_is_found_beside_an_append(engine: Engine, tables: Tables) -> None:
    """Looking for differences waits for no writer, and none waits for it."""
    migrate.upgrade(engine, tables)

    with engine.connect() as writer:
        sqlite.begin_writing(writer)
        assert migrate.find_drift(engine, tables) == []


def test_the_sql_for_hands_makes_the_same_database(
    engine: Engine, tables: Tables, tmp_path: Path
) -> None:
    """What `render_sql` writes, run by SQLite's own shell, gives what `upgrade` gives."""
    migrate.upgrade(engine, tables)
    path = tmp_path / "by_hand.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(migrate.render_sql(tables, "sqlite"))
    connection.close()

    by_hand = sqlite.open_engine(make_url(f"sqlite:///{path}"), create=False)

    migrate.require_current(by_hand, tables)
    assert migrate.find_drift(by_hand, tables) == []
    assert {**definitions(by_hand)}.keys() == definitions(engine).keys()
    by_hand.dispose()


def test_sql_is_written_for_postgresql_without_a_driver() -> None:
    """It is one transaction, under schema and prefix, with nothing left to fill in."""
    sql = migrate.render_sql(make_tables(schema="crm", prefix="log_"), "postgresql")

    assert sql.startswith("BEGIN;")
    assert sql.rstrip().endswith("COMMIT;")
    assert "CREATE TABLE crm.log_event (" in sql
    assert "CREATE VIEW crm.log_event_payload AS" in sql
    assert "body BYTEA" in sql
    assert "%%" not in sql


def test_sql_for_an_unknown_engine_is_refused(tables: Tables) -> None:
    """The refusal names the engines that there are."""
    with pytest.raises(SchemaError, match=r"'oracle'.*sqlite and postgresql"):
        migrate.render_sql(tables, "oracle")


def test_nothing_is_printed(
    engine: Engine, tables: Tables, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to the data of the command that runs the upgrade."""
    migrate.upgrade(engine, tables)
    migrate.find_drift(engine, tables)
    migrate.render_sql(tables, "sqlite")

    assert capfd.readouterr() == ("", "")
