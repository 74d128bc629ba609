"""The policy of retries: how long to wait, when to give up, and what a handler can say."""

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.options import RetryOptions
from router.retry import Reject, Retry, is_exhausted, next_delay

LONG = 36_500 * 86_400.0
OPTIONS = st.builds(
    RetryOptions,
    first=st.floats(min_value=0, max_value=LONG),
    factor=st.floats(min_value=1, max_value=1.7e308),
    cap=st.floats(min_value=0, max_value=LONG),
    jitter=st.booleans(),
)
BELOW_ONE = st.floats(min_value=0, max_value=1, exclude_max=True)


def no_chance() -> float:
    """Stand for a source of chance that must not be asked."""
    raise AssertionError("asked for chance without jitter")


def test_grows_exponentially_up_to_the_cap() -> None:
    """Without jitter each delay is the one before times the factor, until the cap holds."""
    options = RetryOptions(first=5, factor=2, cap=60, jitter=False)
    delays = [next_delay(options, attempts=count, random=no_chance) for count in range(1, 7)]
    assert delays == [5, 10, 20, 40, 60, 60]


def test_jitter_takes_a_share_of_the_whole_delay() -> None:
    """With jitter the delay is multiplied by what chance gives, from nothing on."""
    options = RetryOptions(first=5, factor=2, cap=60)
    delays = [
        next_delay(options, attempts=3, random=iter([at]).__next__) for at in (0.0, 0.5, 0.75)
    ]
    assert delays == [0, 10, 15]


def test_jitter_spreads_what_failed_together() -> None:
    """A thousand deliveries that fail together are spread evenly over the whole delay."""
    options = RetryOptions(first=100, cap=100)
    random = Random(7)  # noqa: S311  chance, not secrecy
    delays = [next_delay(options, attempts=1, random=random.random) for _ in range(1000)]
    tenths = [sum(1 for delay in delays if at * 10 <= delay < at * 10 + 10) for at in range(10)]
    assert sum(tenths) == 1000
    assert min(tenths) > 60


@given(OPTIONS, st.integers(min_value=1, max_value=10**30), BELOW_ONE)
@example(RetryOptions(), 10**400, 0.5)
@example(RetryOptions(factor=1), 10**400, 0.5)
def test_never_exceeds_the_cap(options: RetryOptions, attempts: int, chance: float) -> None:
    """However often it failed, the delay lies between nothing and the cap."""
    delay = next_delay(options, attempts=attempts, random=lambda: chance)
    assert 0 <= delay <= options.cap


@given(OPTIONS, st.integers(min_value=1, max_value=2000))
def test_never_shrinks_without_jitter(options: RetryOptions, attempts: int) -> None:
    """A further failure never makes the longest possible delay shorter."""
    longest = next_delay(options, attempts=attempts, random=lambda: 1.0)
    assert next_delay(options, attempts=attempts + 1, random=lambda: 1.0) >= longest


def test_waits_nothing_where_the_first_delay_is_nothing() -> None:
    """A first delay of 0 stays 0 for ever, even where the factor's power is beyond a float."""
    options = RetryOptions(first=0, factor=10, jitter=False)
    assert [next_delay(options, attempts=count, random=no_chance) for count in (1, 5000)] == [0, 0]


@pytest.mark.parametrize(
    ("attempts", "waited", "exhausted"),
    [(1, 0.0, False), (2, 99.9, False), (3, 0.0, True), (4, 0.0, True), (1, 100.0, True)],
)
def test_gives_up_at_either_limit(attempts: int, waited: float, exhausted: bool) -> None:  # noqa: FBT001
    """The attempt that reaches the limit of calls or of time is the last."""
    options = RetryOptions(attempts=3, give_up_after=100)
    assert is_exhausted(options, attempts=attempts, waited=waited) is exhausted


def test_a_single_attempt_is_the_first_call() -> None:
    """`attempts = 1` means that nothing is called twice."""
    assert is_exhausted(RetryOptions(attempts=1), attempts=1, waited=0.0)


def test_retry_takes_durations() -> None:
    """A handler says when to come back in seconds, as text, or not at all."""
    assert [Retry(after=after).after for after in (2, 0.5, "5m", None)] == [2.0, 0.5, 300.0, None]
    assert Retry().after is None


def test_retry_refuses_what_is_no_duration() -> None:
    """A time that cannot be read fails in the handler that wrote it."""
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        Retry(after="soon")


def test_signals_carry_their_reason() -> None:
    """What the handler says is the text of the signal, and `Retry` has one by itself."""
    assert str(Retry("the CRM is down", after="1m")) == "the CRM is down"
    assert str(Retry()) == "the handler asked for another attempt"
    assert (
        str(Reject("no such customer")) == Reject("no such customer").reason == "no such customer"
    )
