"""The breaker of a delivery: where nearly everything fails, nothing new is tried."""

from collections import Counter, deque
from collections.abc import Callable

PERIOD_MICROS = 30_000_000
SUBJECTS = 20  # with a failure in that time; what troubles fewer is no outage of the plugin's
SHARE = 0.9  # of the calls in that time, that failed
MOST = 10_000  # failures that are remembered


class Breaker:
    """Opens when the calls for many subjects fail, and closes with the first success.

    Open, it keeps an outage from turning a backlog into rows, retries and dead letters: only what
    has failed already is tried again.

    Args:
        now: Microseconds since 1970.
        on_change: Called when it has opened or closed.
    """

    def __init__(self, *, now: Callable[[], int], on_change: Callable[[], None]) -> None:
        self.is_open = False
        self._now = now
        self._on_change = on_change
        self._failures: deque[tuple[int, str]] = deque()
        self._subjects: Counter[str] = Counter()
        self._successes: deque[tuple[int, int]] = deque()  # when, how many

    def succeed(self, count: int = 1) -> None:
        """Note calls that succeeded."""
        if self.is_open:
            self._turn(is_open=False)
        self._successes.append((self._now(), count))
        if len(self._successes) > MOST:
            self._merge()

    def fail(self, subject: str) -> None:
        """Note a call that failed."""
        self._failures.append((self._now(), subject))
        self._subjects[subject] += 1
        self._forget()
        if self.is_open or len(self._subjects) < SUBJECTS:
            return
        failed = len(self._failures)
        if failed >= SHARE * (failed + sum(count for _, count in self._successes)):
            self._turn(is_open=True)

    def _turn(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self._failures.clear()
        self._subjects.clear()
        self._successes.clear()
        self._on_change()

    def _forget(self) -> None:
        """Drop what is too long ago, or, of failures, too many."""
        oldest = self._now() - PERIOD_MICROS
        while self._failures and (self._failures[0][0] < oldest or len(self._failures) > MOST):
            _, subject = self._failures.popleft()
            self._subjects[subject] -= 1
            if not self._subjects[subject]:
                del self._subjects[subject]
        while self._successes and self._successes[0][0] < oldest:
            self._successes.popleft()

    def _merge(self) -> None:
        """Count the older half of the successes as one, at the time of the last of them."""
        half = [self._successes.popleft() for _ in range(len(self._successes) // 2)]
        self._successes.appendleft((half[-1][0], sum(count for _, count in half)))
