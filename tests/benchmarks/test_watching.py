"""A loop that sleeps until a socket is ready is idle; whatever else it does is work.

While it sleeps, others may work for it.
"""

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
HELPED = f"import threading\nthreading.Thread(target=lambda: exec('{WORKING}')).start()\n{WAITING}"
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


def test_a_loop_for_which_another_thread_works_is_at_work() -> None:
    """It is idle, and the process is not; nor is one that has another process at work for it."""
    with running(HELPED) as pid, running(WAITING) as idle:
        for one in (pid, idle):
            call = Path(f"/proc/{one}/task/{one}/syscall")
            while call.read_text().split()[0] not in IDLE:
                time.sleep(0.01)
        for watching, at_work in (
            (Watching(pid), 1.0),
            (Watching(idle), 0.0),
            (Watching(idle, beside=[pid]), 1.0),
        ):
            with watching:
                while watching.looks < LOOKS:
                    time.sleep(0.01)
            assert (watching.busy, watching.at_work) == (0.0, at_work)
