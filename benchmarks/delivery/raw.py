"""A bare loop over the rows of a log: SELECT a page, decode each body, call a function with it."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec
import psycopg
from sqlalchemy import make_url

PAGE = 500
ROWS = """
SELECT e.position, e.id, e.type, e.subtype, e.channel, e.subject, e.path, n.received_at, n.body
FROM event e JOIN notification n ON n.id = e.notification_id
WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?
"""
Rows = Sequence[tuple[object, ...]]
Fetch = Callable[[int, int, int], Rows]


class Pass(msgspec.Struct, frozen=True):
    """What one pass over a history came to.

    Attributes:
        rate: Events a second.
        cpu: Microseconds of processor time an event.
    """

    rate: float
    cpu: float


def read_bare(url: str, *, events: int, after: int = 0) -> Pass:
    """Read ``events`` rows behind a position through the driver of the engine itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return _read(
                lambda *bounds: file.execute(ROWS, bounds).fetchall(), events=events, after=after
            )
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    query = ROWS.replace("?", "%s").encode()
    with psycopg.connect(plain, autocommit=True) as server:
        return _read(
            lambda *bounds: server.execute(query, bounds, prepare=True).fetchall(),
            events=events,
            after=after,
        )


def _read(fetch: Fetch, *, events: int, after: int) -> Pass:
    began, cpu = time.perf_counter(), time.process_time()
    last, seen = after + events, 0
    while rows := fetch(after, last, PAGE):
        for row in rows:
            _do_nothing(msgspec.json.decode(_read_bytes(row[-1])))
            seen += 1
        after = int(str(rows[-1][0]))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if seen != events:
        raise RuntimeError(f"{seen} rows instead of {events}: the run is void")
    return Pass(seen / took, cpu / seen * 1e6)


def _read_bytes(value: object) -> bytes:
    assert isinstance(value, bytes)  # noqa: S101  # for the type alone
    return value


def _do_nothing(_event: object) -> None:
    pass
