"""Revisions: what they make, what is refused, and that a database is never left in between."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, inspect, make_url, text

from router import bodies, migrate, sqlite
from router.errors import SchemaError, Unreadable
from router.events import as_micros, as_rfc3339
from router.schema import Tables, make_tables

ROOT = Path(__file__).parents[1]
MOMENT = datetime(2026, 3, 1, 12, 30, 15, 42, tzinfo=UTC)


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
        return {name: definition for name, definition in rows}


@pytest.mark.parametrize("prefix", ["", "log_", "a b"])
def test_revisions_make_the_tables_of_the_schema(engine: Engine, prefix: str) -> None:
    """A migrated database differs in nothing from the tables in `router.schema`."""
    tables = make_tables(prefix=prefix)

    migrate.upgrade(engine, tables)

    assert migrate.current(engine, tables) == migrate.head()
    assert migrate.find_drift(engine, tables) == []


def test_revisions_make_keys_and_options_too(
    engine: Engine, tables: Tables, tmp_path: Path
) -> None:
    """Keys, their names and the form of each table, which alembic does not compare, are the same."""
    migrate.upgrade(engine, tables)
    direct = sqlite.open_engine(make_url(f"sqlite:///{tmp_path / 'direct.db'}"), create=True)
    tables.metadata.create_all(direct)

    made = definitions(engine)
    del made[tables.version]
    assert made == definitions(direct)
    direct.dispose()


def test_a_new_log_stands_at_position_zero(engine: Engine, tables: Tables) -> None:
    """The head row is there from the start."""
    migrate.upgrade(engine, tables)

    with engine.connect() as connection:
        assert connection.execute(tables.head.select()).all() == [("main", 0, 0, 0, 0)]


def test_two_logs_fit_into_one_database(engine: Engine, tables: Tables) -> None:
    """Logs under different prefixes have revisions of their own."""
    other = make_tables(prefix="other_")

    migrate.upgrade(engine, tables)

    assert migrate.current(engine, other) is None
    migrate.upgrade(engine, other)
    assert migrate.find_drift(engine, tables) == migrate.find_drift(engine, other) == []


def test_tables_of_others_are_left_alone(engine: Engine, tables: Tables) -> None:
    """A host's tables in the same database are neither changed nor reported, its alembic neither."""
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


def test_an_empty_database_is_refused(engine: Engine, tables: Tables) -> None:
    """The refusal names the revision that is needed and the command."""
    with pytest.raises(SchemaError, match=r"is empty: .* revision 0\d+; .*`router db upgrade`"):
        migrate.require_current(engine, tables)


def test_an_older_database_is_refused(engine: Engine, tables: Tables) -> None:
    """The refusal names both revisions and the command."""
    migrate.upgrade(engine, tables)
    execute(engine, "UPDATE router_schema_version SET version_num = '0000'")

    with pytest.raises(SchemaError, match=rf"revision 0000, .*{migrate.head()}"):
        migrate.require_current(engine, tables)


@pytest.mark.parametrize("action", [migrate.require_current, migrate.upgrade, migrate.find_drift])
def test_a_newer_database_is_refused(engine: Engine, tables: Tables, action: object) -> None:
    """Nothing touches a database that a newer version has upgraded; the refusal says the ways out."""
    migrate.upgrade(engine, tables)
    execute(engine, "UPDATE router_schema_version SET version_num = '9999'")

    assert callable(action)
    with pytest.raises(
        SchemaError,
        match=rf"revision 9999, newer than {migrate.head()}, .*"
        "install the newer notification-router, or restore a backup",
    ):
        action(engine, tables)


def test_refusals_never_show_the_password(tables: Tables, tmp_path: Path) -> None:
    """The database is named by its URL without the password."""
    url = make_url(f"sqlite://user:hush@/{tmp_path / 'router.db'}")
    engine = sqlite.open_engine(url.set(username=None, password=None, host=None), create=True)
    engine.url = url

    with pytest.raises(SchemaError, match=r"user:\*\*\*@") as refused:
        migrate.require_current(engine, tables)

    assert "hush" not in str(refused.value)
    engine.dispose()


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
    with pytest.raises(SchemaError, match="'oracle'.*sqlite and postgresql"):
        migrate.render_sql(tables, "oracle")


def test_nothing_is_printed(
    engine: Engine, tables: Tables, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to the data of the command that runs the upgrade."""
    migrate.upgrade(engine, tables)
    migrate.find_drift(engine, tables)
    migrate.render_sql(tables, "sqlite")

    assert capfd.readouterr() == ("", "")


def put(engine: Engine, tables: Tables, body: bytes, *, path: str = "$") -> None:
    """Store a notification with one event, numbered in order; with times that need care."""
    try:
        queryable = bodies.is_queryable(body, bodies.decode(body))
    except Unreadable:
        queryable = False
    with engine.connect() as connection:
        sqlite.begin_writing(connection)
        last = connection.execute(tables.event.select()).all()
        position = len(last) + 1
        connection.execute(
            insert(tables.notification).values(
                id=position,
                source="wa",
                received_at=as_micros(MOMENT),
                headers="{}",
                body=body,
                queryable=queryable,
            )
        )
        connection.execute(
            insert(tables.event).values(
                position=position,
                id=f"id-{position}",
                key=b"k" * 16,
                notification_id=position,
                path=path,
                type="other",
                subtype="",
                channel="",
                subject=":",
                shard=0,
                reparsed=False,
            )
        )
        connection.commit()


def payloads(engine: Engine) -> list[str | None]:
    """The payload of each event, in order, from the whole view."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM event_payload ORDER BY position")).mappings()
        return [row["payload"] for row in rows]


def test_the_view_shows_each_event_with_its_payload(engine: Engine, tables: Tables) -> None:
    """A row has the event's columns, its source, its times as text and its element as JSON."""
    migrate.upgrade(engine, tables)
    put(engine, tables, b'{"list": [1, {"a": 1.50}]}', path="$.list[1]")

    with engine.connect() as connection:
        row = dict(connection.execute(text("SELECT * FROM event_payload")).mappings().one())

    assert row == {
        "position": 1,
        "id": "id-1",
        "key": b"k" * 16,
        "notification_id": 1,
        "path": "$.list[1]",
        "type": "other",
        "subtype": "",
        "channel": "",
        "subject": ":",
        "shard": 0,
        "external_id": None,
        "occurred_at": None,
        "reparsed": 0,
        "source": "wa",
        "received_at": as_rfc3339(MOMENT),
        "payload": '{"a":1.50}',
    }


@pytest.mark.parametrize(
    ("body", "path", "payload"),
    [
        (b'"text"', "$", '"text"'),
        (b" true ", "$", "true"),
        (b'{"a b": {"\xc3\xa9": [null]}}', '$."a b"."\u00e9"[0]', "null"),
        (b'{"a.b": 1, "a": {"b": 2}}', '$."a.b"', "1"),
        (b'{"a": [[1], [2, 3]]}', "$.a[1][1]", "3"),
    ],
)
def test_the_view_follows_every_kind_of_path(
    engine: Engine, tables: Tables, body: bytes, path: str, payload: str
) -> None:
    """Quoted names, nested lists and the root all find their element."""
    migrate.upgrade(engine, tables)
    put(engine, tables, body, path=path)

    assert payloads(engine) == [payload]


HOSTILE = [
    b"",
    b"a=1&b=2",
    b"\xff\xfe\x00",
    b"\x0c\x00",  # JSON of SQLite's own binary kind
    b'{"a": "\\u0000"}',
    b'{"a\\u0000": 1}',
    b'{"a": "\\ud800"}',
    b'{"a": 1, "a": 2}',
    b'{"a": NaN}',
    b"[1e400]",
    b"[" * 200 + b"]" * 200,
    b"[" * 3000 + b"]" * 3000,
    b'{"a": 1} x',
]


def test_selecting_the_whole_view_never_fails(engine: Engine, tables: Tables) -> None:
    """What the engine would refuse or read otherwise has no payload, and costs no other row."""
    migrate.upgrade(engine, tables)
    put(engine, tables, b'{"good": 1}')
    for body in HOSTILE:
        put(engine, tables, body)
    put(engine, tables, b'{"good": 2}')

    found = payloads(engine)

    assert found[0] == '{"good":1}'
    assert found[-1] == '{"good":2}'
    assert {found[1 + at]: body for at, body in enumerate(HOSTILE) if found[1 + at]}.keys() <= {
        "[1e400]"  # valid JSON, only too large for a float
    }


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_view_shows_exact_times(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime
) -> None:
    """Any time, before 1970 too, comes out to the microsecond."""
    path = tmp_path_factory.getbasetemp() / "times.db"
    tables = make_tables()
    engine = sqlite.open_engine(make_url(f"sqlite:///{path}"), create=True)
    migrate.upgrade(engine, tables)
    if not payloads(engine):
        put(engine, tables, b"{}")
    with engine.connect() as connection:
        sqlite.begin_writing(connection)
        connection.execute(tables.event.update().values(occurred_at=as_micros(moment)))
        shown = connection.execute(text("SELECT occurred_at FROM event_payload")).scalar_one()
    engine.dispose()

    assert datetime.fromisoformat(shown) - moment == timedelta(0)
    assert len(shown) == len("2026-03-01T12:30:15.000042Z")
