"""Tests of the clock that tests move."""

import pytest

from router.testing.harness import HandClock


def test_it_stands_still_until_it_is_moved() -> None:
    """It tells the same time until it is put forward, in each of its forms."""
    clock = HandClock(start=1_000)
    engines = clock.as_clock()
    assert (clock.micros, engines.now()) == (1_000_000_000, 1_000_000_000)
    clock.advance(0.25)
    assert (clock.micros, engines.seconds()) == (1_000_250_000, 1_000.25)
    assert clock.now.timestamp() == 1_000.25


def test_it_goes_forward_only() -> None:
    """To put it back is refused."""
    with pytest.raises(ValueError, match="goes forward"):
        HandClock().advance(-1)
