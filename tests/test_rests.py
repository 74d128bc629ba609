"""Tests of `router.rests`: what broke off is left alone, longer each time."""

import pytest

from router.rests import LONGEST, REST, Rests


class Watchman:
    """Rests by a clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.rests = Rests(lambda: self.now)


@pytest.fixture
def watchman() -> Watchman:
    """Nothing rests yet."""
    return Watchman()


def test_a_rest_lasts_until_its_end(watchman: Watchman) -> None:
    """And it is of one subscription alone."""
    assert watchman.rests.is_over("crm")
    assert watchman.rests.begin("crm") == REST / 1_000_000
    watchman.now += REST - 1
    assert (watchman.rests.is_over("crm"), watchman.rests.is_over("audit")) == (False, True)
    watchman.now += 1
    assert watchman.rests.is_over("crm")


def test_rests_double_up_to_the_longest(watchman: Watchman) -> None:
    """What fails at once each time is tried less and less often, but never not at all."""
    seconds = []
    for _ in range(9):
        seconds.append(watchman.rests.begin("crm"))
        watchman.now += int(seconds[-1] * 1_000_000)
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("waited", "seconds"), [(LONGEST - 1, 2), (LONGEST, 1)])
def test_what_went_well_for_long_begins_anew(
    watchman: Watchman, waited: int, seconds: float
) -> None:
    """A failure long after the last rest is no continuation of it."""
    watchman.rests.begin("crm")
    watchman.now += REST + waited
    assert watchman.rests.begin("crm") == seconds
