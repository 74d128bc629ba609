"""Servers that take notifications: the router, and what it is compared with."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import processes
from benchmarks.engines import Database

ROUTER = "router"
UNSIGNED = 'verification = "none"'


def write_settings(url: str, *, secret: str = "") -> str:
    """Return the configuration of a router on the log at ``url``."""
    verification = f'app_secrets = ["{secret}"]' if secret else UNSIGNED
    return f'database = "{url}"\n[sources.wa]\nadapter = "whatsapp"\n{verification}\n'


@contextmanager
def serving(
    name: str, database: Database, *, secret: str = "", options: tuple[str, ...] = ()
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Serve while the block lasts; yields port and process.

    Args:
        name: ``router``, or that of a baseline.
        database: Where it stores.
        secret: What the load is signed with; empty is not to verify anything.
        options: Of `router serve`.
    """
    port = processes.find_free_port()
    command = [*processes.BASELINE, name, database.place, str(port), *((secret,) * bool(secret))]
    if name == ROUTER:
        (database.folder / "router.toml").write_text(write_settings(database.url, secret=secret))
        command = [*processes.ROUTER, "serve", "--port", str(port), *options]
    with processes.running(command, database.folder, port=port) as server:
        yield port, server
