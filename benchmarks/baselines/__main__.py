"""`python -m benchmarks.baselines NAME PLACE PORT [SECRET]`: one of the endpoints, served.

``PLACE`` is a SQLite file or how to connect to PostgreSQL; with a ``SECRET`` the load is signed.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

import uvicorn
from starlette.applications import Starlette

from benchmarks.baselines.endpoints import bare

Baselines = Mapping[str, str]
ON_SQLITE: Baselines = {"loop": "on_loop", "threads": "in_threads", "aiosqlite": "with_aiosqlite"}
ON_POSTGRESQL: Baselines = {
    "loop": "on_loop",
    "threads": "in_threads",
    "async": "with_async",
    "eventsourcing": "with_eventsourcing",
}


def find(name: str, place: str) -> Callable[[str, bytes], Starlette]:
    """Return what makes a baseline; what another one needs is not imported."""
    if name == "bare":
        return bare
    engine, names = ("postgresql", ON_POSTGRESQL) if "dbname=" in place else ("sqlite", ON_SQLITE)
    make: Callable[[str, bytes], Starlette] = getattr(
        import_module(f"benchmarks.baselines.{engine}"), names[name]
    )
    return make


def main(name: str, place: str, port: str, secret: str = "") -> None:
    """Serve a baseline until a signal comes."""
    if name == "pywa":
        import_module("benchmarks.baselines.whatsapp").serve_pywa(secret, port=int(port))
        return
    uvicorn.run(
        find(name, place)(place, secret.encode()),
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
