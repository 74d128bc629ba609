"""The gate that all write transactions of a process pass: SQLite lets one write at a time.

On an engine that lets many write at once it stands open.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import StoreError


class Gate:
    """Lets one writer through at a time, appends first.

    Waiting at a gate of our own, rather than inside SQLite's busy handler, keeps the order: a
    provider's request never queues behind a stream of checkpoints. But two appends do not pass in a
    row while another writer waits, or a saturated receiver would starve the leases.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holder: int | None = None  # the thread that writes
        self._appends = 0  # waiting
        self._others = 0  # waiting
        self._owes_turn = False  # an append went last, while another writer was waiting

    @contextmanager
    def turn(self, *, appending: bool = False) -> Iterator[None]:
        """Hold the gate for the length of a ``with`` block.

        Raises:
            StoreError: This very thread holds it: it would wait for itself.
        """
        self._enter(appending=appending)
        try:
            yield
        finally:
            with self._condition:
                self._holder = None
                self._owes_turn = appending and self._others > 0
                self._condition.notify_all()

    def require_outside(self) -> None:
        """Return when this very thread is not inside.

        Raises:
            StoreError: It is.
        """
        if self._holder == threading.get_ident():
            raise _already_writing()

    @property
    def is_append_waiting(self) -> bool:
        """Whether a long batch should end now."""
        return self._appends > 0

    @property
    def waiting(self) -> int:
        """How many writers wait for their turn."""
        return self._appends + self._others

    def _enter(self, *, appending: bool) -> None:
        self.require_outside()
        with self._condition:
            self._count(1, appending=appending)
            try:
                self._condition.wait_for(lambda: self._may_pass(appending=appending))
                self._holder = threading.get_ident()
            except BaseException:
                self._condition.notify_all()  # whoever made way for this one need not any more
                raise
            finally:
                self._count(-1, appending=appending)

    def _count(self, change: int, *, appending: bool) -> None:
        if appending:
            self._appends += change
        else:
            self._others += change

    def _may_pass(self, *, appending: bool) -> bool:
        if self._holder is not None:
            return False
        if appending:
            return not (self._owes_turn and self._others)
        return self._owes_turn or not self._appends


class OpenGate:
    """Lets everybody through at once, but for a thread that is inside already."""

    waiting = 0
    is_append_waiting = False

    def __init__(self) -> None:
        self._here = threading.local()

    @contextmanager
    def turn(self, *, appending: bool = False) -> Iterator[None]:
        """Be inside for the length of a ``with`` block.

        Raises:
            StoreError: This very thread is: what it does would be committed by itself.
        """
        self.require_outside()
        self._here.is_inside = True
        try:
            yield
        finally:
            self._here.is_inside = False

    def require_outside(self) -> None:
        """Return when this very thread is not inside.

        Raises:
            StoreError: It is.
        """
        if getattr(self._here, "is_inside", False):
            raise _already_writing()


def _already_writing() -> StoreError:
    return StoreError(
        "this thread is in the middle of a transaction: a transactional handler may write through "
        "its `connection` alone, not through the log"
    )
