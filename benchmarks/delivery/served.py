"""`router serve` as a process, with plugins from files, and what its database tells meanwhile."""

import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.notifications import SETTINGS

HANDLERS = "handlers"
LAG = """
SELECT position - (SELECT min(checkpoint) FROM lane WHERE run = 0 AND subscription = ?) FROM head
"""


@contextmanager
def serving(
    folder: Path, plugins: Mapping[str, str], *, delivers: bool = True
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Serve the log in ``folder`` while the block lasts; yields port and process.

    Args:
        folder: Where the database is.
        plugins: The source of each by its name.
        delivers: Whether their handlers are called.
    """
    (folder / "router.toml").write_text(SETTINGS)
    write_plugins(folder, plugins)
    port = processes.find_free_port()
    command = [*processes.ROUTER, "serve", "--port", str(port), "--plugins-dir", HANDLERS]
    command += [] if delivers else ["--no-worker"]
    with processes.running(command, folder, port=port) as server:
        yield port, server


def write_plugins(folder: Path, plugins: Mapping[str, str]) -> None:
    """Put these plugins, and no others, where a router in ``folder`` finds them."""
    (folder / HANDLERS).mkdir(exist_ok=True)
    for old in (folder / HANDLERS).glob("*.py"):  # a log that is kept was measured before
        old.unlink()
    for name, source in plugins.items():
        (folder / HANDLERS / f"{name}.py").write_text(source)


class Record:
    """The database of a router that runs, opened to look at only.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._uri = f"{(folder / 'router.db').as_uri()}?mode=ro"

    def ask(self, query: str, *values: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with closing(sqlite3.connect(self._uri, uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def count(self, query: str, *values: str) -> int:
        """Return the number that a query yields; 0 where it yields nothing."""
        rows = self.ask(query, *values)
        return int(str(rows[0][0] or 0)) if rows else 0

    def lag(self, subscription: str) -> int:
        """Return how many events a subscription is behind, by its checkpoint on record."""
        return self.count(LAG, subscription)
