"""Three that store on SQLite: on the event loop, on the thread pool, and through aiosqlite."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from benchmarks.baselines.endpoints import make_endpoint, read_id

PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
TABLE = "CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, body BLOB NOT NULL)"
INSERT = "INSERT OR IGNORE INTO inbox VALUES (?, ?)"


def on_loop(file: str, secret: bytes) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    connection = _connect(file)

    async def store(_request: Request, body: bytes) -> None:
        connection.execute(INSERT, (read_id(body), body))
        connection.commit()

    return make_endpoint(store, secret=secret)


def in_threads(file: str, secret: bytes) -> Starlette:
    """Store on Starlette's thread pool; a lock, since SQLite takes one writer at a time."""
    connection = _connect(file)
    lock = threading.Lock()

    def insert(body: bytes) -> None:
        key = read_id(body)
        with lock:
            connection.execute(INSERT, (key, body))
            connection.commit()

    async def store(_request: Request, body: bytes) -> None:
        await run_in_threadpool(insert, body)

    return make_endpoint(store, secret=secret)


def with_aiosqlite(file: str, secret: bytes) -> Starlette:
    """Store through aiosqlite, which hands each statement to a thread of its own."""
    _connect(file).close()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiosqlite.connect(file) as connection:
            await connection.executescript(PRAGMAS)
            app.state.connection, app.state.lock = connection, asyncio.Lock()
            yield

    async def store(request: Request, body: bytes) -> None:
        connection: aiosqlite.Connection = request.app.state.connection
        # One transaction a request: those of two requests would run into one another.
        async with request.app.state.lock:
            await connection.execute(INSERT, (read_id(body), body))
            await connection.commit()

    return make_endpoint(store, secret=secret, lifespan=lifespan)


def _connect(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.executescript(PRAGMAS)
    connection.execute(TABLE)
    return connection
