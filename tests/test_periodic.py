"""Tests of `router.periodic`: work goes on from a thread, whatever becomes of one call."""

import logging
import threading

import pytest

from router.errors import RouterError
from router.periodic import Periodic

NEVER = 3600.0


class Work:
    """Does as it is told, call by call, and tells when it has been called so many times.

    Args:
        outcomes: What each call returns or raises; after the last one, None.
    """

    def __init__(self, *outcomes: object) -> None:
        self.count = 0
        self.is_done = threading.Event()
        self._outcomes = outcomes

    def __call__(self) -> object:
        """Do the next thing."""
        self.count += 1
        if self.count > len(self._outcomes):
            self.is_done.set()
            return None
        outcome = self._outcomes[self.count - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run(self, *, seconds: float) -> None:
        """Have it called until it has nothing more to do."""
        periodic = Periodic(self, seconds=seconds, name="router-test")
        periodic.start()
        assert self.is_done.wait(10)
        periodic.stop()


def test_a_failure_is_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """What one call raises is logged, and the next one comes."""
    with caplog.at_level(logging.WARNING):
        Work(RouterError("the disk is full"), ValueError("+5215512345678")).run(seconds=0.001)
    expected, unforeseen = caplog.records
    assert expected.getMessage() == "router-test: the disk is full"
    assert unforeseen.getMessage().startswith("router-test failed\n")
    assert unforeseen.getMessage().endswith("ValueError")
    assert "in __call__" in unforeseen.getMessage()


def test_a_log_line_never_quotes_an_error_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """The text of such an error may hold what a provider sent."""
    Work(ValueError("+5215512345678")).run(seconds=0.001)
    assert "+5215512345678" not in caplog.text


def test_goes_on_without_a_pause_while_there_is_more_to_do() -> None:
    """True means at once again: a hundred pauses would take longer than `Work` is waited for."""
    work = Work(*[True] * 100)
    work.run(seconds=0.3)
    assert work.count == 101


def test_stopping_ends_a_pause() -> None:
    """A stop does not wait for the next call, and no call comes after it."""
    work = Work()
    periodic = Periodic(work, seconds=NEVER, name="router-test")
    periodic.start()
    periodic.stop()
    assert work.count == 0


def test_stopping_waits_for_the_call_under_way() -> None:
    """When `stop` returns, nothing runs any more; even work without an end is ended."""
    entered, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> bool:
        entered.set()
        assert leave.wait(10)
        order.append("the call has ended")
        return True

    periodic = Periodic(work, seconds=0.001, name="router-test")

    def stop() -> None:
        periodic.stop()
        order.append("it has stopped")

    periodic.start()
    assert entered.wait(10)
    stopping = threading.Thread(target=stop)
    stopping.start()
    stopping.join(0.05)  # time enough to return too early
    leave.set()
    stopping.join(10)
    assert order == ["the call has ended", "it has stopped"]


def test_what_never_started_can_be_stopped() -> None:
    """`stop` without `start` is nothing."""
    Periodic(Work(), seconds=NEVER, name="router-test").stop()
