"""What the revisions make: the tables of `router.schema`, and the view for analysts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, make_url, select, text

from router import bodies, migrate, postgresql, scripts, sqlite
from router.errors import Unreadable
from router.events import as_micros, as_rfc3339
from router.schema import Tables, make_tables
from tests import databases
from tests.clusters import Server

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 42, tzinfo=UTC)


@pytest.fixture(params=databases.ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database, on each engine in turn."""
    with new_engine(request, tmp_path) as engine:
        yield engine


@contextmanager
def new_engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    """Yield an empty database of the engine that a fixture was parametrised with."""
    if request.param == "sqlite":
        engine = sqlite.open_engine(make_url(f"sqlite:///{folder / 'router.db'}"), create=True)
        yield engine
        engine.dispose()
        return
    server: Server = request.getfixturevalue("postgres")
    name = server.make()
    engine = postgresql.open_engine(make_url(server.url(name)), create=False)
    yield engine
    engine.dispose()
    server.drop(name)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose work is committed."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            sqlite.begin_writing(connection)
        yield connection
        connection.commit()


@pytest.fixture
def tables() -> Tables:
    """The tables under no schema and no prefix."""
    return make_tables()


DEFINITIONS = {
    "sqlite": (
        "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL"
    ),
    "postgresql": (
        "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
    ),
}


def definitions(engine: Engine) -> dict[str, str]:
    """The text by which an engine remembers each table, index or key."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(DEFINITIONS[engine.dialect.name])
        return {row.name: " ".join(row.sql.split()) for row in rows}


@pytest.mark.parametrize("prefix", ["", "log_", "a b"])
def test_revisions_make_the_tables_of_the_schema(engine: Engine, prefix: str) -> None:
    """A migrated database differs in nothing from the tables in `router.schema`."""
    tables = make_tables(prefix=prefix)

    migrate.upgrade(engine, tables)

    assert migrate.current(engine, tables) == migrate.head()
    assert migrate.find_drift(engine, tables) == []


def test_revisions_make_keys_and_options_too(engine: Engine, tables: Tables) -> None:
    """Keys, their names and forms of tables, which alembic does not compare, are the same."""
    migrate.upgrade(engine, tables)
    made = definitions(engine)
    for name in (tables.version, f"{tables.version}_pkc"):
        made.pop(name, None)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"DROP VIEW {tables.view}")
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
        connection.exec_driver_sql(f"DROP TABLE {tables.version}")
    assert made == definitions(engine)


def test_a_new_log_stands_at_position_zero(engine: Engine, tables: Tables) -> None:
    """The head row is there from the start."""
    migrate.upgrade(engine, tables)

    with engine.connect() as connection:
        assert connection.execute(tables.head.select()).all() == [("main", 0, 0, 0, 0)]


@pytest.mark.parametrize("prefix", ["", "log_"])
def test_the_column_of_traces_comes_and_goes(engine: Engine, prefix: str) -> None:
    """What was stored before has no trace; taken back, the table is as it was, with its rows."""
    tables = make_tables(prefix=prefix)
    migrate.upgrade(engine, tables, revision="0006")
    before = definitions(engine)
    row = {"source": "wa", "received_at": 2, "headers": "{}", "body": b"{}", "queryable": True}
    with writing(engine) as connection:
        connection.execute(insert(tables.notification).values(id=1, **row))

    migrate.upgrade(engine, tables)
    with writing(engine) as connection:
        connection.execute(insert(tables.notification).values(id=2, **row, trace="00-1-2-01"))
        query = select(tables.notification.c.trace).order_by(tables.notification.c.id)
        assert connection.scalars(query).all() == [None, "00-1-2-01"]
    take_back(engine, tables, "0006")

    assert migrate.current(engine, tables) == "0006"
    assert definitions(engine) == before
    with engine.connect() as connection:
        assert connection.scalars(select(tables.notification.c.id)).all() == [1, 2]
    migrate.upgrade(engine, tables)
    assert migrate.find_drift(engine, tables) == []


def take_back(engine: Engine, tables: Tables, revision: str) -> None:
    """Bring a database to an older revision, as a host's own alembic may."""
    with engine.connect() as connection:
        config = scripts._configure(migrate._SCRIPTS, tables, connection=connection)
        command.downgrade(config, revision)
        connection.commit()


def test_replays_on_record_are_kept(engine: Engine, tables: Tables) -> None:
    """Those of an earlier revision ask for no number of calls, and have counted nothing by type."""
    migrate.upgrade(engine, tables, revision="0002")
    texts = ("subscription", "state", "filter", "reason", "created_by")
    numbers = ("id", "from_position", "to_position", "created_at", "total", "done", "failed")
    row = dict.fromkeys(texts, "") | dict.fromkeys(numbers, 7)
    with writing(engine) as connection:
        connection.execute(insert(tables.replay).values(**row, include_effects=False))

    migrate.upgrade(engine, tables)

    replay = tables.replay.c
    with engine.connect() as connection:
        [found] = connection.execute(select(replay.done, replay.concurrency, replay.counts)).all()
    assert tuple(found) == (7, None, "{}")


def put(engine: Engine, tables: Tables, body: bytes, *, path: str = "$") -> None:
    """Store a notification with one event, numbered in order; with times that need care."""
    try:
        queryable = bodies.is_queryable(body, bodies.decode(body))
    except Unreadable:
        queryable = False
    with writing(engine) as connection:
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


def payloads(engine: Engine) -> list[str | None]:
    """The payload of each event, in order, from the whole view; without the spaces between."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM event_payload ORDER BY position")).mappings()
        return [compact(row["payload"]) for row in rows]


def compact(payload: str | None) -> str | None:
    """Return JSON whose strings hold no spaces as SQLite writes it."""
    return payload and payload.replace(": ", ":").replace(", ", ",")


def test_the_view_shows_each_event_with_its_payload(engine: Engine, tables: Tables) -> None:
    """A row has the event's columns, its source, its times as text and its element as JSON."""
    migrate.upgrade(engine, tables)
    put(engine, tables, b'{"list": [1, {"a": 1.50}]}', path="$.list[1]")

    with engine.connect() as connection:
        row = dict(connection.execute(text("SELECT * FROM event_payload")).mappings().one())

    row["payload"] = compact(row["payload"])
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
    b"[1e-200000]",
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
    assert found[1:-1] == [None] * len(HOSTILE)


@pytest.fixture(scope="module", params=databases.ENGINES)
def one_event(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A database with one event, for all examples of a property."""
    with new_engine(request, tmp_path_factory.mktemp("times")) as engine:
        migrate.upgrade(engine, make_tables())
        put(engine, make_tables(), b"{}")
        yield engine


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_the_view_shows_exact_times(one_event: Engine, moment: datetime) -> None:
    """Any time, before 1970 too, comes out to the microsecond."""
    with writing(one_event) as connection:
        connection.execute(make_tables().event.update().values(occurred_at=as_micros(moment)))
        shown = connection.execute(text("SELECT occurred_at FROM event_payload")).scalar_one()

    assert datetime.fromisoformat(shown) - moment == timedelta(0)
    assert len(shown) == len("2026-03-01T12:30:15.000042Z")
