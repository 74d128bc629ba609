"""Calls of async handlers, each in a task of its own, and which of them a thread is in."""

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
