"""A loop that sleeps until a socket is ready is idle; whatever else it does is work."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.watching import IDLE, Watching

LOOKS = 5
WAITING = "import select; select.epoll().poll()"
WORKING = "while True: pass"
LOCKED = "import threading; threading.Barrier(2).wait()"


@contextmanager
def running(code: str) -> Iterator[int]:
    """Yield the pid of a process that runs ``code`` until the block ends."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def watch(pid: int) -> float:
    """Return how busy a process is, by a few looks."""
    with Watching(pid) as watching:
        while watching.looks < LOOKS:
            time.sleep(0.01)
    return watching.busy


def test_a_process_that_waits_for_sockets_is_idle() -> None:
    """From the moment that it does."""
    with running(WAITING) as pid:
        call = Path(f"/proc/{pid}/task/{pid}/syscall")
        while call.read_text().split()[0] not in IDLE:
            time.sleep(0.01)
        assert watch(pid) == 0.0


def test_a_process_that_works_or_waits_for_a_lock_is_busy() -> None:
    """It would go on at once, if it could: sockets are not what it lacks."""
    for code in (WORKING, LOCKED):
        with running(code) as pid:
            assert watch(pid) == 1.0
