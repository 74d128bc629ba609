"""Tests of `router.threads`: plain functions run on a bounded number of daemon threads."""

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import pytest

from router.threads import Threads

PATIENCE = 10  # seconds


class Door:
    """Work that waits until it is let go.

    Attributes:
        entered: The threads that are in it, or were.
    """

    def __init__(self) -> None:
        self.entered: list[threading.Thread] = []
        self.opened = threading.Event()
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Be the work."""
        with self._changed:
            self.entered.append(threading.current_thread())
            self._changed.notify_all()
        assert self.opened.wait(PATIENCE)

    def until_entered(self, count: int) -> None:
        """Wait until so many have come in."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.entered) >= count, PATIENCE)


@pytest.fixture
def door() -> Iterator[Door]:
    """Work that waits, at most until the end of the test."""
    door = Door()
    yield door
    door.opened.set()


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Two threads at most."""
    threads = Threads(2, name="worker")
    yield threads
    threads.shutdown()


def test_a_call_gives_what_its_function_gives(threads: Threads) -> None:
    """Arguments go in, and the result comes back through the future."""
    assert threads.submit(divmod, 17, 5).result(PATIENCE) == (3, 2)
    assert threads.submit(dict, key="value").result(PATIENCE) == {"key": "value"}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_what_a_call_raises_comes_through_its_future(
    threads: Threads, error: BaseException
) -> None:
    """An error, whatever its kind, costs no thread."""

    def fail() -> None:
        raise error

    for _ in range(4):
        assert threads.submit(fail).exception(PATIENCE) is error
    assert threads.submit(lambda: "well").result(PATIENCE) == "well"


def test_no_more_threads_than_agreed(threads: Threads, door: Door) -> None:
    """What comes when all threads are busy waits in line, and is done in its order."""
    done: list[int] = []
    waiting = [threads.submit(door.wait) for _ in range(2)]
    door.until_entered(2)
    later = [threads.submit(done.append, number) for number in range(5)]
    assert not any(future.done() for future in later)
    door.opened.set()
    for future in [*waiting, *later]:
        future.result(PATIENCE)
    assert len(set(door.entered)) == 2
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_threads_are_daemons_with_a_name(threads: Threads) -> None:
    """A thread says whose it is, and keeps no process from ending."""
    thread = threads.submit(threading.current_thread).result(PATIENCE)
    assert thread.daemon
    assert thread.name == "worker-1"


def test_an_idle_thread_is_used_again() -> None:
    """Calls that come one after another do not each start a thread."""
    threads = Threads(1000, name="worker")
    found = {threads.submit(threading.current_thread).result(PATIENCE) for _ in range(200)}
    threads.shutdown()
    assert len(found) < 100  # a handful: the last one may not have sat down yet


def test_a_shutdown_ends_the_threads(threads: Threads) -> None:
    """What was submitted is still done; then the threads end, and nothing more is taken."""
    thread = threads.submit(threading.current_thread).result(PATIENCE)
    last = threads.submit(lambda: "done")
    threads.shutdown()
    assert last.result(PATIENCE) == "done"
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="'worker' have been shut down"):
        threads.submit(print)


def test_a_shutdown_may_drop_what_waits(threads: Threads, door: Door) -> None:
    """With cancel_futures what has not begun never does; what has begun may finish."""
    begun = [threads.submit(door.wait) for _ in range(2)]
    door.until_entered(2)
    dropped: list[Future[None]] = [threads.submit(door.wait) for _ in range(3)]
    threads.shutdown(cancel_futures=True)
    for future in dropped:
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
    door.opened.set()
    for future in begun:
        future.result(PATIENCE)
    assert len(door.entered) == 2


def test_a_call_that_was_cancelled_in_line_is_never_made(threads: Threads, door: Door) -> None:
    """A future that is cancelled before its call has begun keeps it from being made."""
    for _ in range(2):
        threads.submit(door.wait)
    door.until_entered(2)
    made: list[str] = []
    cancelled = threads.submit(made.append, "cancelled")
    later = threads.submit(made.append, "later")
    assert cancelled.cancel()
    door.opened.set()
    later.result(PATIENCE)
    assert made == ["later"]


def test_a_cancelled_call_is_forgotten_where_every_thread_hangs(
    threads: Threads, door: Door
) -> None:
    """The next call that comes takes its place: what nobody waits for does not pile up."""

    class Argument:
        pass

    for _ in range(2):
        threads.submit(door.wait)
    door.until_entered(2)
    argument = Argument()
    kept = weakref.ref(argument)
    threads.submit(id, argument).cancel()
    del argument
    threads.submit(print)
    assert kept() is None


def test_a_call_that_hangs_keeps_no_process_from_ending() -> None:
    """A process ends although a function on one of its threads never returns."""
    script = (
        "import threading\n"
        "from router.threads import Threads\n"
        "entered = threading.Event()\n"
        "threads = Threads(1, name='hanging')\n"
        "threads.submit(lambda: (entered.set(), threading.Event().wait()))\n"
        "entered.wait()\n"
        "threads.shutdown()\n"
        "print('ended')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "ended\n"
