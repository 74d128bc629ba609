"""When a failed delivery is tried again: the signals that a handler raises, and the policy."""

from collections.abc import Callable

from router.options import RetryOptions, parse_duration


class Retry(Exception):
    """Raised by a handler that wants the event again.

    It counts as a failed attempt: the event's subject waits, and the limits of attempts hold.

    Args:
        reason: What `last_error` of the delivery will say.
        after: Seconds until the next attempt, or a duration such as ``"5m"``; None leaves the
            delay to the subscription's options.

    Raises:
        ValueError: ``after`` is not a duration.
    """

    def __init__(
        self,
        reason: str = "the handler asked for another attempt",
        *,
        after: float | str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = None if after is None else parse_duration(after)


class Reject(Exception):
    """Raised by a handler that no further attempt would help: the delivery is dead at once.

    Args:
        reason: What the dead letter will say.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def next_delay(options: RetryOptions, *, attempts: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait before the next attempt.

    The delay is ``first`` after the first failed attempt, ``factor`` times more after each further
    one, and never more than ``cap``. With jitter it is that delay times ``random()``. This *full*
    jitter spreads what failed together over the whole time, so that a service which has just come
    back is not met by all of it at one moment; of the ways to spread, it needs the fewest
    calls (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        options: The subscription's.
        attempts: How many calls have failed so far, at least 1.
        random: Gives a number from 0 to below 1, such as `random.random`.
    """
    longest = min(_grow(options, attempts - 1), options.cap)
    return longest * random() if options.jitter else longest


def is_exhausted(options: RetryOptions, *, attempts: int, waited: float) -> bool:
    """Whether the attempt that has just failed was the last.

    Args:
        options: The subscription's.
        attempts: How many calls have failed so far, this one included.
        waited: Seconds since the first of them in which the subscription could run.
    """
    return attempts >= options.attempts or waited >= options.give_up_after


def _grow(options: RetryOptions, times: int) -> float:
    try:
        return options.first * options.factor**times
    except OverflowError:  # beyond what a float holds, and so beyond any cap
        return options.cap if options.first else 0.0
