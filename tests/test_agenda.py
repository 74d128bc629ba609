"""Tests of `router.agenda`: parked deliveries by the time at which they are tried again."""

from hypothesis import given
from hypothesis import strategies as st

from router.agenda import Agenda
from router.parking import Parked


def make(position: int, next_at: int | None) -> Parked:
    """Return a parked delivery."""
    return Parked(position, f":c{position}", 1, 0, next_at)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 50))
def test_what_is_due_is_taken_in_order(times: list[int], now: int) -> None:
    """The earliest first, of one time the lowest position; nothing too soon, nothing twice."""
    agenda = Agenda()
    for position, at in enumerate(times):
        agenda.add(make(position, at))
    due = sorted((at, position) for position, at in enumerate(times) if at <= now)
    assert [one.position for one in agenda.take_due(now)] == [position for _, position in due]
    assert list(agenda.take_due(now)) == []
    assert len(agenda) == len(times) - len(due)


def test_what_is_added_meanwhile_is_taken_too() -> None:
    """A delivery that is due again while others are taken comes in the same turn."""
    agenda = Agenda()
    agenda.add(make(1, 10))
    taken = []
    for one in agenda.take_due(10):
        taken.append(one.position)
        if one.position == 1:
            agenda.add(make(2, 9))
    assert taken == [1, 2]


@given(st.lists(st.integers(0, 50), max_size=30), st.sets(st.integers(0, 30)))
def test_what_is_dropped_is_gone(times: list[int], dropped: set[int]) -> None:
    """The others keep their order."""
    agenda = Agenda()
    for position, at in enumerate(times):
        agenda.add(make(position, at))
    agenda.drop(dropped)
    left = sorted((at, position) for position, at in enumerate(times) if position not in dropped)
    assert [one.position for one in agenda.take_due(50)] == [position for _, position in left]


def test_how_long_until_the_next_is_told() -> None:
    """In seconds; none while nothing waits, zero where it is overdue."""
    agenda = Agenda()
    assert agenda.seconds_to_next(0) is None
    agenda.add(make(1, 2_500_000))
    agenda.add(make(2, 3_000_000))
    assert agenda.seconds_to_next(1_000_000) == 1.5
    assert agenda.seconds_to_next(9_000_000) == 0.0
