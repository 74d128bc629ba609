"""How busy a server and its event loop are, seen from outside."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD = 0.004  # seconds between two looks
# The numbers of epoll_wait and epoll_pwait, on x86-64 and on 64-bit ARM.
IDLE = ("232", "281", "22")


class Watching:
    """Looks at the threads of a process while a block lasts.

    A loop that has nothing to do sleeps in the system call that waits for sockets. At work, it
    runs, or waits for a core, for the interpreter's lock, or for the disk: all that is busy. While
    it sleeps, the server is at work if another of its threads runs, or waits for the disk.

    Args:
        pid: Of the process; its loop runs in its main thread.
        beside: The pids of processes that work for it.

    Attributes:
        looks: How many there were so far.
    """

    def __init__(self, pid: int, *, beside: Sequence[int] = ()) -> None:
        self._file = Path(f"/proc/{pid}/task/{pid}/syscall")
        tasks = [task for one in (pid, *beside) for task in Path(f"/proc/{one}/task").iterdir()]
        self._states = [os.open(task / "stat", os.O_RDONLY) for task in tasks]
        self.looks = self._idle = self._resting = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        for state in self._states:
            os.close(state)

    @property
    def busy(self) -> float:
        """The share of the looks at which its loop did not wait for sockets."""
        return 1 - self._idle / self.looks if self.looks else 0.0

    @property
    def at_work(self) -> float:
        """The share of the looks at which its loop did not, or another thread was at work."""
        return 1 - self._resting / self.looks if self.looks else 0.0

    def _watch(self) -> None:
        while not self._is_over.wait(PERIOD):
            self.looks += 1
            if self._file.read_text().split()[0] in IDLE:
                self._idle += 1
                self._resting += not any(map(_is_at_work, self._states))


def _is_at_work(state: int) -> bool:
    """Whether the thread runs, or waits for a core or for the disk; not so if it has ended."""
    try:
        line = os.pread(state, 512, 0)
    except ProcessLookupError:
        return False
    return line.rpartition(b")")[2].split()[:1] in ([b"R"], [b"D"])
