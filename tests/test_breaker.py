"""Tests of `router.breaker`: it opens where nearly everything fails, and only there."""

import pytest

from router.breaker import MOST, PERIOD_MICROS, SHARE, SUBJECTS, Breaker


class Line:
    """A breaker by a clock that is put forward by hand.

    Attributes:
        now: Microseconds.
        changes: Whether it was open, each time that it changed.
    """

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.changes: list[bool] = []
        self.breaker = Breaker(
            now=lambda: self.now, on_change=lambda: self.changes.append(self.breaker.is_open)
        )

    def fail(self, subjects: int, *, first: int = 0) -> None:
        """Let the call for each of so many subjects fail."""
        for number in range(first, first + subjects):
            self.breaker.fail(f"s{number}")


@pytest.fixture
def line() -> Line:
    """A breaker that has seen nothing."""
    return Line()


def test_it_opens_when_many_subjects_fail(line: Line) -> None:
    """At the twentieth subject, not before, and it says so once."""
    line.fail(SUBJECTS - 1)
    assert line.changes == []
    line.fail(1, first=SUBJECTS)
    assert (line.breaker.is_open, line.changes) == (True, [True])
    line.fail(SUBJECTS)
    assert line.changes == [True]


def test_it_never_opens_for_a_few_subjects(line: Line) -> None:
    """However often they fail: what troubles so few is no outage of the plugin's."""
    for _ in range(MOST):
        line.fail(SUBJECTS - 1)
    assert line.changes == []


@pytest.mark.parametrize(("successes", "is_open"), [(2, True), (3, False)])
def test_it_opens_when_nearly_all_calls_fail(line: Line, successes: int, is_open: bool) -> None:  # noqa: FBT001
    """Twenty failures are nine tenths of twenty-two calls, and less of twenty-three."""
    assert (SUBJECTS, SHARE) == (20, 0.9)
    line.breaker.succeed(successes)
    line.fail(SUBJECTS)
    assert line.breaker.is_open == is_open


def test_it_forgets_what_is_half_a_minute_ago(line: Line) -> None:
    """Failures that lie further apart make no outage."""
    line.fail(SUBJECTS - 1)
    line.now += PERIOD_MICROS + 1
    line.fail(1, first=SUBJECTS)
    assert line.changes == []
    line.now += PERIOD_MICROS
    line.fail(SUBJECTS - 1, first=SUBJECTS + 1)
    assert line.changes == [True]


def test_old_successes_do_not_hide_an_outage(line: Line) -> None:
    """A plugin that worked well until a moment ago fails all the same."""
    line.breaker.succeed(1_000_000)
    line.now += PERIOD_MICROS + 1
    line.fail(SUBJECTS)
    assert line.changes == [True]


def test_a_subject_is_known_as_long_as_one_of_its_failures(line: Line) -> None:
    """A subject whose first failure is forgotten still counts by its second, and once."""
    line.fail(1)
    line.now += PERIOD_MICROS
    line.fail(SUBJECTS - 1)
    line.now += 1
    line.fail(1, first=SUBJECTS)
    assert line.changes == [True]


def test_the_first_success_closes_it(line: Line) -> None:
    """And it opens again only by failures that come afterwards."""
    line.fail(SUBJECTS)
    line.breaker.succeed()
    assert line.changes == [True, False]
    line.fail(SUBJECTS - 1)
    assert line.changes == [True, False]


def test_it_remembers_no_more_than_it_must(line: Line) -> None:
    """An outage, and a flood of successes, are counted in bounded memory, and counted right."""
    for number in range(5 * MOST):
        line.breaker.succeed()
        line.breaker.fail(f"s{number % (SUBJECTS - 1)}")
    assert len(line.breaker._failures) <= MOST
    assert len(line.breaker._successes) <= MOST
    line.fail(SUBJECTS)
    assert line.changes == []
