"""Tests of `router.bulk`: what goes in at once comes out as it was, on each engine."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select

from router.bulk import CHUNK, Parts, find_keys, insert_together
from router.head import write_move
from router.store import Store

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
HARD = st.sampled_from(["NULL", "", '"', "\\", '\\"', "{a,b}", "a,b", "'", "%s", " ", "\n", "\x01"])
NUMBERS = st.integers(-(2**63), 2**63 - 1)


def make_row(number: int, text: str, note: str | None, moment: int | None) -> tuple[object, ...]:
    """A row of the table ``event`` with this in its columns."""
    key = number.to_bytes(8, "big", signed=True) * 2
    path, channel, subject = f"$.{text}", text, text * 2
    row = (number, "id", key, number, path, "read", text, channel, subject, 7, note, moment)
    return (*row, moment is None, note is None)


def put(connection: Connection, store: Store, parts: Parts) -> None:
    """Insert rows, and move the head to position 7."""
    move = write_move(store.tables, store.engine.dialect)
    insert_together(connection, [part for part in parts if part[1]], then=(move, (7, 0)))


def read_rows(store: Store) -> list[tuple[object, ...]]:
    """All rows of the table ``event``, in the order of their positions."""
    table = store.tables.event
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(table.c.position))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        NUMBERS,
        st.tuples(TEXTS | HARD, st.none() | TEXTS | HARD, st.none() | NUMBERS),
        min_size=1,
        max_size=9,
    )
)
def test_rows_come_back_as_they_were(
    store: Store, rows: dict[int, tuple[str, str | None, int | None]]
) -> None:
    """Whatever is in their texts, numbers and bytes, or is not there."""
    made = [make_row(number, *rest) for number, rest in sorted(rows.items())]
    with store.writing() as connection:
        connection.execute(delete(store.tables.event))
        put(connection, store, [(store.tables.event, made)])
    assert read_rows(store) == made


def test_rows_may_end_before_the_last_columns(store: Store) -> None:
    """What they do not name is empty."""
    row = (1, "wa", 2, "{}", b"{}", True)
    table = store.tables.notification
    with store.writing() as connection:
        put(connection, store, [(table, [row])])
        put(connection, store, [(table, [(2, *row[1:], "00-1-2-01")])])
    with store.reading() as connection:
        found = connection.execute(select(table).order_by(table.c.id)).all()
    assert [tuple(one) for one in found] == [(*row, None), (2, *row[1:], "00-1-2-01")]


@pytest.mark.parametrize("count", [1, CHUNK, 2 * CHUNK + 1])
def test_any_number_of_rows_goes_in(store: Store, count: int) -> None:
    """Also more than one statement takes; and what is to be done then is done."""
    made = [make_row(number, "a", None, number) for number in range(count)]
    keys = [(number.to_bytes(16, "big"), number) for number in range(count)]
    with store.writing() as connection:
        put(connection, store, [(store.tables.event, made), (store.tables.dedupe_a, keys)])
    assert read_rows(store) == made
    with store.reading() as connection:
        assert connection.scalars(select(store.tables.head.c.position)).one() == 7
        assert len(connection.execute(select(store.tables.dedupe_a)).all()) == count


@pytest.mark.parametrize("count", [1, 2, CHUNK, 2 * CHUNK + 1])
def test_keys_are_found_in_either_table(store: Store, count: int) -> None:
    """Those that are there, and no others."""
    keys = [number.to_bytes(16, "big") for number in range(count)]
    with store.writing() as connection:
        some = ([(key, 1) for key in keys[at::3]] for at in (0, 1))
        put(connection, store, list(zip(store.tables.dedupe, some, strict=True)))
    with store.reading() as connection:
        found = find_keys(connection, store.tables.dedupe, keys)
    assert found == {*keys[::3], *keys[1::3]}
