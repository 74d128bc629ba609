"""Calls of async handlers, each in a task of its own, and which of them a thread is in."""

import asyncio
from types import FrameType

import msgspec

from router.context import Context
from router.events import Event
from router.handlers import Handler


class Place(msgspec.Struct, frozen=True):
    """Where in a handler a thread is.

    Attributes:
        subscription: Whose handler it is.
        hook: Its hook.
        file: The file that the handler is in.
        line: The line in it.
    """

    subscription: str
    hook: str
    file: str
    line: int


class Call:
    """A call of an async handler.

    Attributes:
        event: What it is called with.
        context: What it knows of the call.
        started: When, in seconds since 1970.
        task: In which it runs: what a handler does to that harms no other.
        is_late: Whether it was cancelled since its time was over.
    """

    __slots__ = ("context", "event", "is_late", "started", "task")

    task: asyncio.Task[BaseException | None]

    def __init__(self, event: Event, context: Context, *, started: float) -> None:
        self.event = event
        self.context = context
        self.started = started
        self.is_late = False

    def find_error(self) -> BaseException | None:
        """Return what it has raised, once it has ended; None where nothing."""
        return asyncio.CancelledError() if self.task.cancelled() else self.task.result()


class Deadlines:
    """Cancels calls when their time is over: one timer for all, since all of them have as long.

    To arm one for each call, and disarm it, takes as long as a call.

    Args:
        seconds: That a call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[Call, float] = {}  # in their order
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, call: Call) -> None:
        """Cancel ``call``, which begins now, when its time is over."""
        loop = call.task.get_loop()
        end = self._ends[call] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._look, loop)

    def forget(self, call: Call) -> None:
        """Note that ``call`` has ended."""
        self._ends.pop(call, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._ends:
            call, end = next(iter(self._ends.items()))
            if end > loop.time():
                self._timer = loop.call_at(end, self._look, loop)
                return
            del self._ends[call]
            call.is_late = True
            call.task.cancel()


async def catch(
    subscription: str, handler: Handler, event: Event, context: Context
) -> BaseException | None:
    """Call an async handler and return what it raises, whatever that is; None where nothing.

    Args:
        subscription: Its name, for whoever looks at the stack.
        handler: What is called.
        event: With what.
        context: With what more.
    """
    try:
        await handler.call(event, context, None)  # type: ignore[misc]  # an async def
    except BaseException as error:  # raised in a task, some of them would stop the loop
        return error
    return None


def find_place(frame: FrameType | None) -> Place | None:
    """Return where in a handler the thread is whose innermost frame is given; None, if in none."""
    inner: FrameType | None = None
    while frame is not None:
        if frame.f_code is catch.__code__ and inner is not None:
            name, handler = frame.f_locals["subscription"], frame.f_locals["handler"]
            return Place(name, handler.hook, inner.f_code.co_filename, inner.f_lineno)
        inner, frame = frame, frame.f_back
    return None
