"""Tests of the view `event_payload`: all of it can be selected, whatever came in."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from router import bodies
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
    b'{"a": 1e-200000}',
    b'{"a": 1e400000}',
    b'{"a": -0e400000}',
    b'{"a": 1E-16384}',
    b'{"a": 0.' + b"0" * 20_000 + b"1}",
    b'{"a": 1.' + b"0" * 20_000 + b"}",
    b'{"a": ' + b"1" * 140_000 + b"}",
    b'{"a": 1' + b"0" * 140_000 + b"e-140000}",
]
# Odd, but the same to everybody.
SOUND = [
    b'{"a": 1e-300}',
    b'{"a": 1.5E+20, "b": -0.0}',
    b'{"a": 0.10000000000000000000000000000000000000000000000001}',
    b'{"a": 18446744073709551616}',
    b'{"a": "e99999"}',
    b'{"a": "\\u00e9\\n\\/ \\\\u0000", "": 1}',
    b'{"a": {"' + b"k" * 100_000 + b'": []}}',
    b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}",
    '{"a": "\U0001f600 \u2028 \x7f"}'.encode(),
    b'[{"a": 1}]',
    b'{"a": [[[1]]]}',
    b'{"a": null}',
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
        kind = {"sqlite": "json_type(payload)", "postgresql": "jsonb_typeof(payload::jsonb)"}
        kinds = f"SELECT count({kind[connection.dialect.name]}) FROM event_payload"  # noqa: S608
        connection.exec_driver_sql(kinds).scalar_one()


@pytest.mark.parametrize("path", ["$", "$.a", "$[0]", "$.a[0][0]", '$."a"', "$.a.b"])
def test_the_view_says_what_the_log_says(log: EventLog, path: str) -> None:
    """Where a body can be queried, the payload is the element that the path names, if any."""
    log.append([make(body, other(path)) for body in (*SOUND, *HOSTILE)])
    shown = dict(payloads(log.store))
    for event in log.read():
        text = shown[event.position]
        if event.position <= len(SOUND):
            found = None if text is None else bodies.decode(text.encode())
            assert found == event.payload
        else:
            assert text is None or bodies.decode(text.encode()) == event.payload


def test_the_view_gives_the_payload_where_it_can(log: EventLog) -> None:
    """What can be queried is there as JSON, and NULL stands for the rest."""
    texts = [b'{"a": {"b": [1, "\\u00e9"]}}', b'{"a": 1, "a": 2}', b"a=b", b'{"b": 1}', b'{"a":0}']
    log.append([make(body, other("$.a")) for body in texts])
    found = [text and bodies.decode(text.encode()) for _, text in payloads(log.store)]
    assert found == [{"b": [1, "\u00e9"]}, None, None, None, 0]


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
