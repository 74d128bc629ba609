"""Tests of the view `event_payload`: all of it can be selected, whatever came in."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from router.log import EventLog
from router.store import Store
from tests.drafts import make, other

HOSTILE = [
    b"",
    b"a=b&c=%22",
    b"<html>",
    b"null",
    b"null null",
    b"{",
    b'{"a": 1,}',
    b"\x00",
    b'{"a": 1}\x00',
    b"\xef\xbb\xbf{}",
    b'"\xff"',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\ud800\\u0041"}',
    b'{"a": 1, "a": 2}',
    b'{"a": 1, "\\u0061": 2}',
    b'{"a": NaN, "b": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": 1' + b"0" * 500 + b"}",
    b"[" * 400 + b"]" * 400,
    b"[" * 100_000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
]


def payloads(store: Store) -> list[tuple[int, str | None]]:
    """Select the whole view; return each payload with its position."""
    with store.reading() as connection:
        found = connection.execute(text("SELECT * FROM event_payload ORDER BY position")).mappings()
        return [(row["position"], row["payload"]) for row in found]


@pytest.mark.parametrize("path", ["$", "$.a", '$."a b"', "$[0]", f"$[{'9' * 30}]", "$.a.b[1]"])
def test_the_whole_view_is_selected_over_hostile_bodies(log: EventLog, path: str) -> None:
    """Not one body makes the database give up on all the others."""
    log.append([make(body, other(path)) for body in HOSTILE])
    assert len(payloads(log.store)) == len(HOSTILE)
    # Nor does it where SQL does something with what it found.
    with log.store.reading() as connection:
        kinds = "SELECT count(json_type(payload)) FROM event_payload"
        connection.exec_driver_sql(kinds).scalar_one()


def test_the_view_gives_the_payload_where_it_can(log: EventLog) -> None:
    """What can be queried is there as JSON, and NULL stands for the rest."""
    bodies = [b'{"a": {"b": [1, "\\u00e9"]}}', b'{"a": 1, "a": 2}', b"a=b", b'{"b": 1}', b'{"a":0}']
    log.append([make(body, other("$.a")) for body in bodies])
    found = payloads(log.store)
    assert found == [(1, '{"b":[1,"\\u00e9"]}'), (2, None), (3, None), (4, None), (5, "0")]


def test_the_view_shows_times_as_text(log: EventLog) -> None:
    """Times are RFC 3339 with microseconds, before 1970, too; what is missing is NULL."""
    early = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    log.append([make(b"1", other(occurred_at=early)), make(b"2", other())])
    with log.store.reading() as connection:
        query = text("SELECT received_at, occurred_at FROM event_payload ORDER BY position")
        found = [tuple(row) for row in connection.execute(query)]
    assert found == [
        ("2026-01-01T12:00:00.000000Z", "1969-12-31T23:59:59.999999Z"),
        ("2026-01-01T12:00:00.000000Z", None),
    ]
