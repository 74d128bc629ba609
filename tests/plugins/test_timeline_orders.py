"""Whatever order statuses come in, and however often: `timeline` never downgrades, ends the same.

With ROUTER_TEST_SIZE=full there are 10,000 shuffles, which takes two minutes.
"""

import os
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from router.events import Event
from router.plugins.timeline.facts import read_status
from router.plugins.timeline.model import STATES, Message, make_message, merge
from tests import samples
from tests.plugins.timelines import (
    handle,
    handling,
    read_messages,
    read_steps,
    statuses,
)

IS_FULL = os.environ.get("ROUTER_TEST_SIZE") == "full"
USUAL = settings().max_examples
PAIRS = settings(max_examples=5_000 if IS_FULL else USUAL)  # of shuffles, through the database
MERGES = settings(max_examples=10_000 if IS_FULL else USUAL)

BEGIN = int(samples.MOMENT)
WORDS = [*STATES, "deleted", "in_orbit"]
PRICES = [None, {"billable": True, "category": "utility"}, {"billable": False}]
ERRORS = [None, [samples.error(131026)], [samples.error(131000), samples.error(130429)]]
# By phone, by user id, and not at all: statuses of one message may fall into several subjects.
CUSTOMERS: list[dict[str, object]] = [
    {},
    {"recipient_user_id": "US.1000"},
    {"recipient_id": None},
]


@st.composite
def told(draw: st.DrawFn) -> samples.Json:
    """One status of the one message; few times, so that some are the same."""
    return samples.status(
        draw(st.sampled_from(WORDS)),
        timestamp=draw(st.sampled_from([str(BEGIN + second) for second in range(4)] + [None])),
        pricing=draw(st.sampled_from(PRICES)),
        errors=draw(st.sampled_from(ERRORS)),
        **draw(st.sampled_from(CUSTOMERS)),
    )


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[samples.Json], list[samples.Json]]:
    """The same statuses in two orders, some of them several times."""
    first = draw(st.lists(told(), min_size=1, max_size=8))
    again = draw(st.lists(st.sampled_from(first), max_size=4))
    return draw(st.permutations(first + again)), draw(st.permutations(first + again))


def follow(engine: Engine, events: Sequence[Event]) -> list[Message]:
    """Handle the events; return the row of their message after each of them."""
    rows = []
    with handling(engine) as connection:
        for event in events:
            handle(connection, [event])
            (row,) = read_messages(connection)
            rows.append(make_message(row))
            assert row.state == rows[-1].state  # what analysts read is what programs read
    return rows


def assert_upgrades(before: Message, after: Message) -> None:
    """Check that nothing that was known is lost, and no time moves but to an earlier one."""
    ranks = [-1 if one.state is None else STATES.index(one.state) for one in (before, after)]
    assert ranks[0] <= ranks[1]
    for state in STATES:
        known, then = getattr(before, f"{state}_at"), getattr(after, f"{state}_at")
        assert known is None or (then is not None and then <= known)
    assert before.pricing is None or after.pricing is not None


@given(orders())
@PAIRS
def test_any_two_orders_end_in_the_same_row(
    engine: Engine, both: tuple[list[samples.Json], list[samples.Json]]
) -> None:
    """At every step the state stays or goes up, and the end does not tell the order."""
    first, second = (follow(engine, statuses(*order)) for order in both)

    for rows in (first, second):
        for before, after in pairwise(rows):
            assert_upgrades(before, after)
    assert first[-1] == second[-1]


@given(orders())
def test_the_row_is_what_was_told(
    engine: Engine, both: tuple[list[samples.Json], list[samples.Json]]
) -> None:
    """Each time is the earliest that was given for its status, and the state is the highest one."""
    events = statuses(*both[0])
    row = follow(engine, events)[-1]

    for state in STATES:
        moments = [one.occurred_at or one.received_at for one in events if one.subtype == state]
        expected = min(moments).isoformat().replace("+00:00", "Z") if moments else None
        assert row.as_dict()[f"{state}_at"] == expected
    words = {event.subtype for event in events}
    assert row.state == next((state for state in reversed(STATES) if state in words), None)
    assert row.subject == max(event.subject for event in events)


@given(st.lists(told(), min_size=1, max_size=8), st.data())
def test_events_that_come_again_change_nothing(
    engine: Engine, elements: list[samples.Json], data: st.DataObject
) -> None:
    """A replay in any order, over a full or a partly filled model, leaves what live left."""
    events = statuses(*elements)
    replayed = data.draw(st.permutations(events))
    early = data.draw(st.integers(0, len(events)))
    with handling(engine, events) as connection:
        live = read_messages(connection), read_steps(connection)
    assert [step.position for step in live[1]] == [event.position for event in events]

    with handling(engine, [*events[early:], *replayed]) as connection:
        assert (read_messages(connection), read_steps(connection)) == live


@given(told(), told(), told())
@MERGES
def test_merging_knows_no_order(
    one: samples.Json, other: samples.Json, third: samples.Json
) -> None:
    """It is commutative, associative and idempotent."""
    a, b, c = (read_status(event) for event in statuses(one, other, third))

    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)
