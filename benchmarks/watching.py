"""How busy the event loop of a server is, seen from outside."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD = 0.004  # seconds between two looks
# The numbers of epoll_wait and epoll_pwait, on x86-64 and on 64-bit ARM.
IDLE = ("232", "281", "22")


class Watching:
    """Looks at the main thread of a process while a block lasts.

    A loop that has nothing to do sleeps in the system call that waits for sockets. At work, it
    runs, or waits for a core, for the interpreter's lock, or for the disk: all that is busy.

    Args:
        pid: Of the process; its loop runs in its main thread.

    Attributes:
        looks: How many there were so far.
    """

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/task/{pid}/syscall")
        self.looks = self._idle = 0
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

    @property
    def busy(self) -> float:
        """The share of the looks at which it did not wait for sockets."""
        return 1 - self._idle / self.looks if self.looks else 0.0

    def _watch(self) -> None:
        while not self._is_over.wait(PERIOD):
            self.looks += 1
            self._idle += self._file.read_text().split()[0] in IDLE
