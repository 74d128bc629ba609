"""Calls of async handlers: how far each has come, its time, and which of them a thread is in."""

import asyncio
import contextvars
import types
from collections.abc import Callable, Coroutine, Generator
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
    """A call of an async handler, which runs in the task that begins it and, if it waits, ends it.

    Attributes:
        event: What it is called with.
        context: What it knows of the call.
        began: When, in seconds of a clock that only goes forward.
        task: In which it runs, for whoever is to cancel it.
        is_late: Whether it was cancelled since its time was over.
        is_over: Whether it has ended.
        error: What it has raised; None where nothing.
    """

    __slots__ = (
        "_ambient",
        "_handler",
        "_handling",
        "_subscription",
        "_wish",
        "began",
        "context",
        "error",
        "event",
        "is_late",
        "is_over",
        "task",
    )

    task: asyncio.Task[None]
    _ambient: contextvars.Context
    _handling: Coroutine[object, object, BaseException | None]

    def __init__(
        self, subscription: str, handler: Handler, event: Event, context: Context, *, began: float
    ) -> None:
        self._subscription = subscription
        self._handler = handler
        self._wish: object = None  # what is to be there before it goes on
        self.event = event
        self.context = context
        self.began = began
        self.error: BaseException | None = None
        self.is_late = self.is_over = False

    def begin(self) -> bool:
        """Run it until it ends, or first waits for something; whether it has ended."""
        self._handling = catch(self._subscription, self._handler, self.event, self.context)
        self._ambient = contextvars.copy_context()  # what it sets there is seen by no other
        return self._advance(self._handling.send, None)

    @types.coroutine
    def end(self) -> Generator[object, object, None]:
        """Go on with it, in the task that has begun it, until it ends."""
        while not self.is_over:
            try:
                given = yield self._wish
            except BaseException as error:  # thrown in: a cancellation, or what it has waited for
                self._advance(self._handling.throw, error)
            else:
                self._advance(self._handling.send, given)

    async def run(self) -> None:
        """Begin and end it."""
        if not self.begin():
            await self.end()

    def find_error(self) -> BaseException | None:
        """Return what has come of it, once its task is done or it has ended; None is no error."""
        if not self.is_over:
            return asyncio.CancelledError()
        return self.error

    def _advance(self, step: Callable[..., object], given: object) -> bool:
        try:
            self._wish = self._ambient.run(step, given)
        except StopIteration as ended:
            self.is_over, self.error = True, ended.value
        return self.is_over


class Deadlines:
    """Runs calls that are cancelled when their time is over: one timer, since all have as long.

    To arm one for each call, and disarm it, takes as long as a call.

    Args:
        seconds: That a call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[Call, float] = {}  # in their order
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, call: Call, *, on_return: Callable[[], None]) -> None:
        """Begin and end ``call`` in a task of its own; who cancels this does not wait for it.

        Args:
            call: The call.
            on_return: Called when the handler has returned, even if that is after a cancellation.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        call.task = loop.create_task(call.run())

        def end(task: asyncio.Task[None]) -> None:
            self._ends.pop(call, None)
            if task.cancelled():
                call.error = call.error or asyncio.CancelledError()
            on_return()
            if not ended.done():
                ended.set_result(None)

        # Not `asyncio.wait`, which takes longer than all the rest of it.
        call.task.add_done_callback(end)
        self._watch(call)
        try:
            await ended
        except asyncio.CancelledError:
            call.task.cancel()
            raise

    async def wait(self, call: Call) -> None:
        """Wait for the end of ``call``, which was begun in this task."""
        self._watch(call)
        try:
            await call.end()
            if is_cancelled(call.task):  # by the handler, which then waited for nothing any more
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            call.error = call.error or error
        finally:
            self._ends.pop(call, None)

    def _watch(self, call: Call) -> None:
        loop = call.task.get_loop()
        end = self._ends[call] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._look, loop)

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


def is_cancelled(task: asyncio.Task[None]) -> bool:
    """Whether somebody has cancelled ``task``, though it may not have heard of that.

    Until Python 3.13 one that is cancelled and then "uncancelled" hears of it all the same.
    """
    return task.cancelling() > 0 or getattr(task, "_must_cancel", False)


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
