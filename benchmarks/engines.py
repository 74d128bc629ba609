"""The engines that logs and baselines are measured on: a fresh database on each, for each run."""

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from router import migrate
from router.store import Store
from tests.clusters import Cluster, Server, find_installed, find_wheel, serving

NAMES = ("sqlite", "postgresql")


class Database(msgspec.Struct, frozen=True):
    """An empty log, and where a baseline may store instead.

    Attributes:
        folder: Of its own, for the run.
        url: Of the log.
        place: What a baseline is told.
    """

    folder: Path
    url: str
    place: str


class Engine(Protocol):
    """Makes databases."""

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        ...

    @property
    def storing(self) -> tuple[str, ...]:
        """The baselines that INSERT once a request."""
        ...

    def fresh(self) -> AbstractContextManager[Database]:
        """Yield a database that is gone after the block."""
        ...

    def read_cpu(self) -> float:
        """Return the processor time that its server has taken so far, in seconds."""
        ...

    def find_processes(self) -> list[int]:
        """Return the pids of its server."""
        ...


class SQLite:
    """A file in a temporary folder, and no server."""

    name = "sqlite"
    storing = ("loop", "threads", "aiosqlite")

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """Yield a database that is gone after the block."""
        with tempfile.TemporaryDirectory(prefix="router-bench-") as name:
            folder = Path(name)
            url = f"sqlite:///{folder / 'router.db'}"
            make_tables(url)
            yield Database(folder, url, "inbox.db")

    def read_cpu(self) -> float:
        """Return 0: what it takes is the process's own."""
        return 0.0

    def find_processes(self) -> list[int]:
        """Return none: there is no server."""
        return []


class PostgreSQL:
    """A server of its own."""

    name = "postgresql"
    storing = ("loop", "threads", "async")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._server = Server(cluster.url("postgres"))

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """Yield a database that is gone after the block."""
        name = self._server.make()
        url = self._cluster.url(name)
        make_tables(url)
        try:
            with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
                yield Database(Path(folder), url, self._cluster.dsn(name))
        finally:
            self._server.drop(name)

    def read_cpu(self) -> float:
        """Return the seconds that its processes, ended ones too, have taken so far."""
        postmaster, ticks = self._postmaster, 0
        for pid, fields in _read_processes():
            if pid == postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def find_processes(self) -> list[int]:
        """Return the pids of those that serve connections, and of the others of the server."""
        return [pid for pid, fields in _read_processes() if int(fields[1]) == self._postmaster]

    @property
    def _postmaster(self) -> int:
        return int((self._cluster.data / "postmaster.pid").read_text().splitlines()[0])


def _read_processes() -> Iterator[tuple[int, list[str]]]:
    """Yield the pid of each process and what its ``stat`` says, from its state on."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue


def add_memory_option(parser: ArgumentParser) -> None:
    """Add the choice of where the files of PostgreSQL are."""
    said = "PostgreSQL's files in memory, not on disk"
    parser.add_argument("--memory", action="store_true", help=said)


@contextmanager
def running(name: str, *, on_disk: bool = True) -> Iterator[Engine]:
    """Yield an engine by its name; a server runs while the block lasts.

    Args:
        name: One of `NAMES`.
        on_disk: Whether the files of a server are where SQLite's are, not in memory.
    """
    if name == "sqlite":
        yield SQLite()
        return
    binaries = find_installed() or find_wheel()
    if binaries is None:
        sys.exit("there is no PostgreSQL: install its server or the development group")
    with serving(binaries, Path(tempfile.gettempdir()) if on_disk else None) as cluster:
        yield PostgreSQL(cluster)


def make_tables(url: str) -> None:
    """Bring a new database to this version."""
    store = Store(url, create=True)
    migrate.upgrade(store.engine, store.tables)
    store.close()
