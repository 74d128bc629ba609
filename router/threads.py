"""Threads that plain functions run on, none of which keeps a process from ending."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """An executor like the standard library's, but on daemon threads.

    At the end of a process the standard library waits until every thread of every pool has
    returned: one handler that hangs would keep a service from ever stopping.

    Args:
        limit: How many at most; each is started when it is first needed.
        name: What their names begin with.
    """

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit = limit
        self._name = name
        self._changed = threading.Condition()
        self._line: deque[tuple[Future[Any], Callable[[], object]]] = deque()
        self._started = 0
        self._idle = 0
        self._is_closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` as soon as a thread is free.

        Raises:
            RuntimeError: The threads have been shut down.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError(f"the threads {self._name!r} have been shut down")
            while self._line and self._line[0][0].cancelled():
                self._line.popleft()  # lest the line grow for ever where all threads hang
            self._line.append((future, partial(fn, *args, **kwargs)))
            if self._idle < len(self._line) and self._started < self._limit:
                self._start()
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls; each thread ends when none is left.

        Args:
            wait: Is not heeded: nobody waits for what may never return.
            cancel_futures: Whether calls that have not begun never do.
        """
        with self._changed:
            self._is_closed = True
            dropped = list(self._line) if cancel_futures else []
            if cancel_futures:
                self._line.clear()
            self._changed.notify_all()
        for future, _call in dropped:
            future.cancel()

    def _start(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._line or self._is_closed)
                self._idle -= 1
                if not self._line:
                    return
                future, call = self._line.popleft()
            carry_out(future, call)
            del future, call  # lest an idle thread keep what the last call was about


def carry_out(future: Future[Any], call: Callable[[], object]) -> None:
    """Make ``call`` unless ``future`` was cancelled, and give it what comes of that."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # whoever waits for the future gets it
        future.set_exception(error)
    else:
        future.set_result(result)
