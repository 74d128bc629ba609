"""What worlds stand on: an empty log that watches itself, on either engine."""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Protocol

import psycopg
from sqlalchemy import event, make_url

from router.schema import make_tables
from router.store import Store

# What may never be on record is noted by the database itself, and what handlers write is kept.
RULES = """
CREATE TABLE effect (
    number {serial} PRIMARY KEY, subscription TEXT, run BIGINT, position BIGINT
);
CREATE TABLE broken (what TEXT);
CREATE VIEW parked_key AS SELECT subscription, run, position, 1 AS is_parked FROM parked;
"""
WRONG = {
    "lane": (
        "NEW.checkpoint < OLD.checkpoint OR NEW.epoch < OLD.epoch",
        "'a lane went back to ' || NEW.checkpoint",
    ),
    "parked": ("NEW.attempts < OLD.attempts", "'fewer attempts at ' || NEW.position"),
}
ON_SQLITE = """
CREATE TRIGGER {table}_goes_on BEFORE UPDATE ON {table} WHEN {wrong} BEGIN
    INSERT INTO broken VALUES ({what});
END;
"""
ON_POSTGRES = """
CREATE FUNCTION note_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO broken VALUES ({what});
    RETURN NEW;
END $$;
CREATE TRIGGER {table}_goes_on BEFORE UPDATE ON {table}
    FOR EACH ROW WHEN ({wrong}) EXECUTE FUNCTION note_{table}();
"""
FIRST = "UPDATE head SET position = 0, generation = 0, rotated_at = 0, appended_at = 0"
PATIENCE = 30.0  # seconds in which a server must have noticed that a process is dead


def write_rules(trigger: str, *, serial: str) -> str:
    """Return the statements that make a database watch itself."""
    triggers = [
        trigger.format(table=table, wrong=wrong, what=what)
        for table, (wrong, what) in WRONG.items()
    ]
    return RULES.format(serial=serial) + "".join(triggers)


class Ground(Protocol):
    """Where worlds can be made, one after the other.

    Attributes:
        EFFORT: Which part of the tries of a state machine is made here: a server takes its time.
    """

    EFFORT: ClassVar[float]

    @contextmanager
    def laid(self) -> Iterator[str]:
        """Yield the URL of an empty log that watches itself."""

    def wait_until_gone(self, pids: Sequence[int]) -> None:
        """Wait until the database knows nothing more of a process that is dead.

        Args:
            pids: The server's processes that it has talked to.
        """


class SqliteGround:
    """Copies of one file.

    Args:
        empty: An empty log.
        folder: Where to keep that which watches itself.
    """

    EFFORT: ClassVar[float] = 1.0

    def __init__(self, empty: Path, folder: Path) -> None:
        self._file = shutil.copy(empty, folder / "router.db")
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript(write_rules(ON_SQLITE, serial="INTEGER"))

    @contextmanager
    def laid(self) -> Iterator[str]:
        """Yield the URL of a copy."""
        with TemporaryDirectory(prefix="router-world-") as folder:
            yield f"sqlite:///{shutil.copy(self._file, folder)}"

    def wait_until_gone(self, pids: Sequence[int]) -> None:
        """Return: who is dead holds no lock on a file."""


class PostgresGround:
    """One database, emptied again and again.

    Args:
        url: Of an empty log, which it keeps for itself.
    """

    EFFORT: ClassVar[float] = 0.3

    def __init__(self, url: str) -> None:
        # A busy machine is not a server that is gone.
        self._url = make_url(url).update_query_dict({"connect_timeout": "60"}).render_as_string()
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = psycopg.connect(plain, autocommit=True)
        self._connection.execute(write_rules(ON_POSTGRES, serial="BIGSERIAL").encode())
        # Some rows are deleted in a tenth of the time that it takes to cut files off.
        names = [*make_tables().metadata.tables.keys(), "effect", "broken"]
        emptied = [f"DELETE FROM {name}" for name in names if name != "head"]  # noqa: S608
        self._reset = "; ".join([*emptied, FIRST]).encode()

    @contextmanager
    def laid(self) -> Iterator[str]:
        """Yield the URL of the database, emptied."""
        self._connection.execute(self._reset)
        yield self._url

    def wait_until_gone(self, pids: Sequence[int]) -> None:
        """Wait until the server has rolled back what a dead process has left."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        end = time.monotonic() + PATIENCE
        while self._connection.execute(query, (list(pids),)).fetchone() != (0,):
            assert time.monotonic() < end, "the server has not noticed that a process is dead"
            time.sleep(0.001)

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


def hurry(store: Store) -> None:
    """Leave out what only a power cut would tell."""
    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "connect", _hurry)


def _hurry(connection: sqlite3.Connection, _entry: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
