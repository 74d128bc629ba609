"""Tests of `router.sqlite`: commits that last, transactions that are ours, short checkpoints."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url

from router import sqlite
from router.errors import SchemaError, StoreError
from router.gate import Gate
from router.sqlite import Checkpointer
from router.store import Store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The engine of a new database."""
    engine = sqlite.open_engine(make_url(f"sqlite:///{tmp_path / 'router.db'}"), create=True)
    yield engine
    engine.dispose()


def ask(connection: Connection, pragma: str) -> object:
    """Return what SQLite says of one of its settings."""
    return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()


def test_every_connection_is_durable(engine: Engine) -> None:
    """Each connection of the pool writes a log ahead and waits for the disk at each commit."""
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            assert ask(connection, "journal_mode") == "wal"
            assert ask(connection, "synchronous") == 2
            assert ask(connection, "fullfsync") == 1
            assert ask(connection, "wal_autocheckpoint") == 0
            assert ask(connection, "busy_timeout") == 5000
            driver: Any = connection.connection.dbapi_connection
            assert driver.isolation_level is None
    sqlite.require_durable(engine)


def test_the_url_may_set_how_long_a_lock_is_waited_for(tmp_path: Path) -> None:
    """``?timeout=`` overrules the default."""
    engine = sqlite.open_engine(
        make_url(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.25"), create=True
    )
    with engine.connect() as connection:
        assert ask(connection, "busy_timeout") == 250
    engine.dispose()


def test_releasing_a_savepoint_does_not_commit(engine: Engine) -> None:
    """What a savepoint held is gone with its transaction; the driver's default would keep it."""
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (number INTEGER)")
        sqlite.begin_writing(connection)
        connection.exec_driver_sql("SAVEPOINT one")
        connection.exec_driver_sql("INSERT INTO thing VALUES (1)")
        connection.exec_driver_sql("RELEASE one")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM thing").scalar_one() == 0


@contextmanager
def foreign_engine(
    path: Path, *pragmas: str, begin: str = "", **arguments: object
) -> Iterator[Engine]:
    """An engine that a host has made in its own way."""
    engine = create_engine(f"sqlite:///{path}", connect_args=arguments)

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _entry: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    if begin:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    yield engine
    engine.dispose()


WAL, FULL = "journal_mode = WAL", "synchronous = FULL"


@pytest.mark.parametrize(
    ("pragmas", "arguments"),
    [
        ([FULL], {"isolation_level": None}),
        ([WAL, "synchronous = NORMAL"], {"isolation_level": None}),
        ([WAL, "synchronous = OFF"], {"isolation_level": None}),
        ([WAL, FULL], {}),
        ([WAL, FULL], {"isolation_level": None, "begin": "BEGIN"}),
    ],
    ids=["no WAL", "NORMAL", "OFF", "driver's transactions", "a listener's transactions"],
)
def test_refuses_a_weaker_engine(
    tmp_path: Path, pragmas: list[str], arguments: dict[str, str]
) -> None:
    """An engine that keeps less than the log promises is refused, with what would mend it."""
    with foreign_engine(tmp_path / "host.db", *pragmas, **arguments) as engine:
        with pytest.raises(StoreError) as caught:
            Store(engine)
        for fix in ('"isolation_level": None', WAL, FULL, "BEGIN"):
            assert fix in str(caught.value)


@pytest.mark.skipif(
    not hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"), reason="it came with Python 3.12"
)
def test_refuses_an_engine_whose_commit_does_nothing(tmp_path: Path) -> None:
    """With ``autocommit=True`` the driver's commit() is empty: nothing would ever be committed."""
    weak = foreign_engine(tmp_path / "host.db", WAL, FULL, isolation_level=None, autocommit=True)
    with weak as engine, pytest.raises(StoreError, match="not durable enough"):
        Store(engine)


@pytest.mark.parametrize("level", ["FULL", "EXTRA"])
def test_takes_an_engine_as_strong_as_ours(tmp_path: Path, level: str) -> None:
    """An engine that is set up as the message says is taken."""
    strong = foreign_engine(
        tmp_path / "host.db", WAL, f"synchronous = {level}", isolation_level=None
    )
    with strong as engine:
        assert Store(engine).engine is engine


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:log?mode=memory&cache=shared&uri=true",
    ],
)
def test_refuses_memory(url: str) -> None:
    """A log in memory is none."""
    with pytest.raises(StoreError, match="loses everything: name a file"):
        sqlite.open_engine(make_url(url), create=True)


def test_refuses_an_asynchronous_driver() -> None:
    """The log talks to SQLite from threads of its own."""
    with pytest.raises(StoreError, match=r"sqlite\+aiosqlite is not a driver that the log uses"):
        sqlite.open_engine(make_url("sqlite+aiosqlite:///router.db"), create=True)


def test_a_missing_file_is_not_made_by_accident(tmp_path: Path) -> None:
    """Who does not say ``create`` is told how a database comes into being."""
    path = tmp_path / "none.db"
    engine = sqlite.open_engine(make_url(f"sqlite:///{path}"), create=False)
    with pytest.raises(StoreError, match=r"there is no database .*none.db.*router db upgrade"):
        engine.connect()
    assert not path.exists()
    sqlite.create(engine)
    engine.connect().close()
    engine.dispose()


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A folder that is missing is not made."""
    engine = sqlite.open_engine(make_url(f"sqlite:///{tmp_path}/none/none.db"), create=False)
    with pytest.raises(SchemaError, match=r"none.db cannot be made: No such file"):
        sqlite.create(engine)


def test_refuses_a_place_without_a_write_ahead_log() -> None:
    """Where SQLite cannot keep a write-ahead log, no connection is handed out."""
    with foreign_engine(Path(":memory:")) as memory:
        event.listen(memory, "connect", sqlite._set_up)
        with pytest.raises(StoreError, match=r"journal of the kind 'memory'.*local disk"):
            memory.connect()


@pytest.mark.parametrize("url", ["sqlite:////srv/router.db", "sqlite:///file:/srv/router.db?uri=1"])
def test_finds_the_file_of_a_url(url: str) -> None:
    """Both ways to write a file's URL lead to it."""
    assert sqlite.file_of(make_url(url)) == Path("/srv/router.db")


Grow = Callable[[int], None]


@pytest.fixture
def grow(engine: Engine) -> Grow:
    """Writes so many MiB into the write-ahead log."""
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (data BLOB)")

    def write(mebibytes: int) -> None:
        with engine.connect() as connection:
            sqlite.begin_writing(connection)
            for _ in range(mebibytes):
                connection.exec_driver_sql("INSERT INTO thing VALUES (zeroblob(1048576))")
            connection.commit()

    return write


def moved(engine: Engine) -> int:
    """How many MiB of things are in the database's file itself."""
    path = sqlite.file_of(engine.url)
    assert path is not None
    return path.stat().st_size >> 20


def test_a_short_log_is_left_alone(engine: Engine, grow: Grow) -> None:
    """Below the bound nothing is moved."""
    grow(2)
    Checkpointer(engine, gate=Gate()).check()
    assert moved(engine) == 0


def test_a_long_log_is_moved_without_the_gate(engine: Engine, grow: Grow) -> None:
    """Moving pages needs no writer to wait: it is done while one holds the gate."""
    gate = Gate()
    grow(5)
    with gate.turn():
        Checkpointer(engine, gate=gate).check()
    assert moved(engine) == 5


def test_a_log_that_readers_kept_long_begins_anew(engine: Engine, grow: Grow) -> None:
    """Once the readers are gone, the file is written from its start again and grows no more."""
    checkpointer = Checkpointer(engine, gate=Gate(), restart_bytes=6 << 20)
    wal = Path(f"{engine.url.database}-wal")
    with engine.connect() as reader:
        sqlite.begin_reading(reader)
        reader.exec_driver_sql("SELECT count(*) FROM thing").scalar_one()
        grow(7)
        checkpointer.check()  # what the reader still needs cannot be moved, and is not waited for
        assert moved(engine) == 0
        reader.rollback()
    checkpointer.check()
    size = wal.stat().st_size
    grow(3)
    assert (moved(engine), wal.stat().st_size) == (7, size)


def test_a_log_that_has_begun_anew_holds_up_nobody(engine: Engine, grow: Grow) -> None:
    """The file stays large, but what counts is how much of it is in use."""
    gate = Gate()
    checkpointer = Checkpointer(engine, gate=gate, restart_bytes=6 << 20)
    grow(7)
    checkpointer.check()
    grow(1)
    with gate.turn():  # asking for it again would never end
        checkpointer.check()
    assert moved(engine) == 8


def test_a_checkpoint_leaves_the_connection_as_it_was(engine: Engine, grow: Grow) -> None:
    """The short patience of a checkpoint is not handed on to whoever gets its connection next."""
    grow(5)
    Checkpointer(engine, gate=Gate()).check()
    with engine.connect() as connection:
        assert ask(connection, "busy_timeout") == 5000
