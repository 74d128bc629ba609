"""A host's side of a database: its own engine, its own table, its own events in the log."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select, text

from router import Router
from router.events import Draft
from router.log import EventLog
from router.rows import Appended

TIMEOUT = 0.05  # seconds that an impatient host or router waits for a lock on SQLite
LONG = 20.0  # seconds that a patient one does


def make_engine(database: str, *, timeout: float = LONG) -> Engine:
    """Return an engine as a host makes it that follows the documentation."""
    if make_url(database).get_backend_name() != "sqlite":
        return create_engine(database)
    arguments = {"isolation_level": None, "check_same_thread": False, "timeout": timeout}
    engine = create_engine(database, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _entry: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextmanager
def hosting(database: str, *, timeout: float = LONG) -> Iterator[Engine]:
    """Yield a host's engine, in whose database there is a table ``account``."""
    engine = make_engine(database, timeout=timeout)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE account (name TEXT NOT NULL)"))
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE account"))
    engine.dispose()


def open_account(connection: Connection, name: str) -> None:
    """Do what a host's transaction is about."""
    connection.execute(text("INSERT INTO account VALUES (:name)"), {"name": name})


def find_accounts(engine: Engine) -> list[str]:
    """Return what has come of a host's transactions."""
    with engine.connect() as connection:
        return sorted(connection.scalars(text("SELECT name FROM account")))


def as_opened(name: str) -> bytes:
    """Return a body that tells of an account."""
    return json.dumps({"opened": name}).encode()


def opened(name: str) -> list[Draft]:
    """Return what is in such a body."""
    return [
        Draft(
            path="$",
            type="other",
            subtype="account.opened",
            channel="bank",
            conversation=name,
            natural_key=("account", name),
        )
    ]


def append(router: Router, name: str, *, connection: Connection | None = None) -> Appended:
    """Tell the log that an account was opened."""
    return router.append("bank", as_opened(name), events=opened(name), connection=connection)


def read(log: EventLog) -> list[tuple[int, str]]:
    """Return what is in the log: each event's position and subject."""
    return [(event.position, event.subject) for event in log.read()]


def count_rows(log: EventLog) -> dict[str, int]:
    """Return how many rows the tables of the log have."""
    tables = log.store.tables
    counted = (tables.notification, tables.event, *tables.dedupe)
    with log.store.reading() as connection:
        return {
            table.name: connection.scalars(select(func.count()).select_from(table)).one()
            for table in counted
        }
