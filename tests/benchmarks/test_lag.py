"""Whether a router keeps up is told from how its lag goes on, not from how large it is."""

import pytest

from benchmarks.delivery.lag import cut, find_bounds, keeps_up
from benchmarks.delivery.live import describe_bounds, split
from benchmarks.delivery.sightings import Sample, Seen
from benchmarks.report import UNKNOWN


def make_samples(*, rate: int, handled: int, behind: int = 0, seconds: int = 10) -> list[Sample]:
    """Return a sample of each second, with so many answered and begun in each."""
    return [Sample(at, at * rate, at * handled - behind) for at in range(seconds)]


def test_a_lag_that_stays_is_kept_up_with() -> None:
    """However large it is."""
    samples = make_samples(rate=1_000, handled=1_000, behind=700)
    assert keeps_up(samples, rate=1_000, answered=1_000)


def test_a_lag_that_grows_is_not_kept_up_with() -> None:
    """Even where it is small by then."""
    assert not keeps_up(make_samples(rate=1_000, handled=950), rate=1_000, answered=1_000)


def test_a_rate_that_is_not_answered_is_not_kept_up_with() -> None:
    """Lag cannot grow where nothing comes in."""
    samples = make_samples(rate=500, handled=500)
    assert not keeps_up(samples, rate=1_000, answered=500)


@pytest.mark.parametrize("limit", [90, 700, 1_500, 3_300, 7_000])
def test_the_highest_rate_is_found_from_either_side(limit: int) -> None:
    """It is kept, and within a tenth of the limit when there are steps enough."""
    kept, lost = find_bounds(lambda rate: rate <= limit, first=2_000, most=8_000, steps=16)
    assert lost is not None
    assert kept <= limit < lost
    assert lost < 1.1 * kept


def test_the_search_is_bounded() -> None:
    """By the number of steps, and by the highest rate that is tried."""
    tried: list[int] = []

    def is_kept(rate: int) -> bool:
        tried.append(rate)
        return True

    assert find_bounds(is_kept, first=2_000, most=5_000, steps=9) == (5_000, None)
    assert tried == [2_000, 4_000, 5_000]
    assert find_bounds(lambda rate: False, first=2_000, most=5_000, steps=3) == (0, 500)


def test_what_was_not_tried_is_not_claimed() -> None:
    """A search that ended below what is wanted, without a rate that was lost, tells nothing."""
    assert describe_bounds(5, 2_000, 2_200).endswith("met")
    assert describe_bounds(5, 1_000, 1_080).endswith("missed")
    assert describe_bounds(5, 1_000, None).endswith(UNKNOWN)
    assert describe_bounds(5, 1_500, 2_500).endswith(UNKNOWN)


def test_only_the_load_itself_is_looked_at() -> None:
    """Neither what came before it, nor what a router does once all are answered."""
    samples = [Sample(at, min(at, 20) * 10, 0) for at in range(30)]
    seen = Seen([(5.0, 0.1), (19.5, 0.2), (25.0, 0.3)], samples)
    found = cut(seen, seconds=4)
    assert [one.seconds for one in found.samples] == [16, 17, 18, 19, 20]
    assert found.waits == [(19.5, 0.2)]


def test_waits_are_told_apart_by_when_they_began() -> None:
    """Each part of the time has its own, the last moment included."""
    waits = [(0.0, 0.1), (1.0, 0.2), (9.0, 0.3), (10.0, 0.4)]
    assert split(waits, 2) == [[0.1, 0.2], [0.3, 0.4]]
