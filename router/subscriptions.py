"""A subscription at work: its handlers are called with one event, and what came of it is told."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast

import msgspec
from sqlalchemy import Connection, MetaData

from router.calls import Call, Deadlines, is_cancelled
from router.context import AsyncContext, Context
from router.crew import Crew
from router.errors import Unavailable
from router.events import Event, EventType
from router.failures import Failed, make_failed
from router.handlers import Handler
from router.hookspecs import ReplayPolicy
from router.lending import SAVEPOINT, Lent
from router.log import EventLog
from router.options import Options
from router.retry import Reject
from router.turns import Places

if TYPE_CHECKING:  # see `router.context`
    from router.outlet import Outlet

NO_CONTEXT = cast("Context", None)  # for handlers that do not ask: it costs as much as their call


class Subscription(msgspec.Struct, frozen=True):
    """One plugin's handlers with their options.

    Attributes:
        name: The plugin's.
        handlers: By the type of event; other types are not delivered.
        options: As declared and configured.
        tables: What the plugin keeps beside the log.
        settings: The plugin's own.
    """

    name: str
    handlers: Mapping[EventType, Handler]
    options: Options
    tables: MetaData | None = None
    settings: object = None

    @property
    def is_transactional(self) -> bool:
        """Whether its effects are written in the transaction that settles the event."""
        return any(handler.is_transactional for handler in self.handlers.values())

    @property
    def is_plain(self) -> bool:
        """Whether all its handlers are plain functions."""
        return not any(handler.is_async for handler in self.handlers.values())

    @property
    def policies(self) -> dict[str, ReplayPolicy]:
        """What a replay does with each type that it handles."""
        default: ReplayPolicy = "allow" if self.is_transactional else "skip"
        return {
            type_: "refuse"
            if handler.replay == "refuse"
            else self.options.replay or handler.replay or default
            for type_, handler in self.handlers.items()
        }


class Undone(Unavailable):
    """A handler ended the transaction that it was called in; ``failed`` is what that counts as."""

    def __init__(self, failed: Failed) -> None:
        super().__init__("a handler ended the transaction that it was called in")
        self.failed = failed


class _LeftOpen(Exception):
    """Says what a handler did wrong."""

    def __init__(self) -> None:
        super().__init__("the handler left a savepoint open: end it with commit() or rollback()")


class Caller:
    """Calls the handlers of one subscription, plain functions on threads of its own.

    Args:
        subscription: Whose.
        log: For handlers that read.
        clock: Seconds since 1970.
        monotonic: Seconds of a clock that only goes forward.
        concurrency: Calls at a time, of all that share this caller; None is as the options have it.
        rename: Puts other names of tables into the statements of transactional handlers.
        outlet: Where the HTTP requests of handlers leave; None where nobody may be asked.

    Attributes:
        concurrency: Calls at a time of one lane.
        crew: The threads.
        room: Where async calls that share this caller find their place.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        log: EventLog,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        concurrency: int | None = None,
        rename: Callable[[str], str] | None = None,
        outlet: "Outlet | None" = None,
    ) -> None:
        options = subscription.options
        self.subscription = subscription
        self.rename = rename
        self._log = log
        self._meters = log.meters
        self._handlers = subscription.handlers
        self._clock = clock
        self._monotonic = monotonic
        self._outlet = outlet
        self._timeout = options.timeout
        limit = concurrency or options.concurrency * (options.lanes or log.store.lanes)
        most = concurrency or options.concurrency
        self.concurrency = 1 if subscription.is_transactional else most
        self.crew = Crew(limit, name=f"router-{subscription.name}")
        self.room = Places(limit)
        self._deadlines = Deadlines(options.timeout)

    async def call(
        self, event: Event, *, attempt: int, on_return: Callable[[], None] = lambda: None
    ) -> Failed | None:
        """Call the handler of ``event`` and return how it failed, or None.

        An async handler is cancelled when its time is over. A plain one cannot be: only when it
        has returned it has failed. Whatever a handler raises ends here; a cancellation of the
        caller does not wait for it.

        Args:
            event: The event.
            attempt: Which call for it this is.
            on_return: Called on the loop when the handler has returned, even if that is after a
                cancellation.
        """
        if self.is_async(event):
            return await self.call_async(event, attempt=attempt, on_return=on_return)
        call = self.crew.submit(partial(self.call_plain, event, attempt=attempt))
        loop = asyncio.get_running_loop()
        call.add_done_callback(lambda _: _tell(loop, on_return))
        return await asyncio.wrap_future(call)

    def call_plain(
        self, event: Event, connection: Connection | None = None, *, attempt: int
    ) -> Failed | None:
        """Call a plain handler on this very thread, and return how it failed, or None."""
        failed, took = self._try(event, connection, attempt)
        self._note(failed, took)
        return failed

    def _try(
        self, event: Event, connection: Connection | None, attempt: int
    ) -> tuple[Failed | None, float]:
        """Call a plain handler; how it failed, or None, and how many seconds it took."""
        began, context = self._monotonic(), NO_CONTEXT
        try:
            handler = self._handlers.get(event.type) or _refuse(event)
            if "context" in handler.names:
                context = self._make_context(handler, attempt)
            handler.call(event, context, connection)
            took = self._monotonic() - began
            if took > self._timeout:
                raise TimeoutError(f"the handler returned only after {took:.3f} s")
        except BaseException as error:  # the one place where what handlers raise ends
            failed = self._fail(error, self._monotonic() - began, context)
            return failed, failed.failure.duration
        return None, took

    def _note(self, failed: Failed | None, took: float) -> None:
        outcome = "done" if failed is None else failed.failure.outcome
        self._meters.call(self.subscription.name, outcome, took)

    def call_within(self, lent: Lent, event: Event, *, attempt: int) -> Failed | None:
        """Call a transactional handler in a savepoint of its own; for a storage thread.

        Raises:
            Undone: It ended the transaction, or made the database do so.
            Unavailable: The database has gone: it is to be called again.
        """
        connection = lent.connection
        lent.tell(f"SAVEPOINT {SAVEPOINT}")
        with lent.lending():
            failed, took = self._try(event, connection, attempt)
        try:
            if connection.in_nested_transaction():
                failed = failed or self._fail(_LeftOpen(), took)
                while (inner := connection.get_nested_transaction()) is not None:
                    inner.rollback()
            if failed is not None:
                lent.tell(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            lent.tell(f"RELEASE SAVEPOINT {SAVEPOINT}")
        except Exception as error:  # the database's, or SQLAlchemy's confusion
            if lent.is_gone:
                raise Unavailable("the database has gone in the middle of a call") from error
            failed = failed or self._fail(error, took)
            self._note(failed, took)
            raise Undone(failed) from error
        self._note(failed, took)
        return failed

    def close(self) -> None:
        """Let go of the threads; one that still runs a handler ends with it."""
        self.crew.close()

    def is_async(self, event: Event) -> bool:
        """Whether there is an async handler for ``event``."""
        handler = self._handlers.get(event.type)
        return handler is not None and handler.is_async

    def is_quick(self, event: Event) -> bool:
        """Whether `begin` and `wait` are all that a call for ``event`` takes."""
        return self.is_async(event)

    def begin(self, event: Event, *, task: asyncio.Task[None]) -> Call | Failed | None:
        """Call an async handler for the first time, until it ends or waits for something.

        Args:
            event: The event.
            task: The current one. Once there is a call that waits, or the task was cancelled, it is
                of no use for another.

        Returns:
            The call, to be waited for in the same task; how it failed; or None.
        """
        call = self._make_call(event, attempt=1)
        call.task = task
        if not call.begin() or is_cancelled(task):
            return call
        if call.error is not None:
            return self._conclude(call)
        self._note(None, self._monotonic() - call.began)
        return None

    async def wait(self, call: Call) -> Failed | None:
        """Wait for a ``call`` that was begun in this task, and return how it failed, or None."""
        await self._deadlines.wait(call)
        return self._conclude(call)

    def _make_call(self, event: Event, *, attempt: int) -> Call:
        handler, context = self._handlers[event.type], NO_CONTEXT
        if "context" in handler.names:
            context = self._make_context(handler, attempt)
        return Call(self.subscription.name, handler, event, context, began=self._monotonic())

    def _conclude(self, call: Call) -> Failed | None:
        error, took = call.find_error(), self._monotonic() - call.began
        if call.is_late:
            error = TimeoutError(f"the handler took longer than {self._timeout:g} s")
        failed = None if error is None else self._fail(error, took, call.context)
        self._note(failed, took)
        return failed

    async def call_async(
        self, event: Event, *, attempt: int, on_return: Callable[[], None]
    ) -> Failed | None:
        """Call an async handler, and wait for it."""
        call = self._make_call(event, attempt=attempt)
        await self._deadlines.run(call, on_return=on_return)
        return self._conclude(call)

    def _make_context(self, handler: Handler, attempt: int) -> Context:
        deadline = datetime.fromtimestamp(self._clock(), UTC) + timedelta(seconds=self._timeout)
        kind = AsyncContext if handler.is_async else Context
        subscription = self.subscription
        return kind(
            attempt, deadline, subscription.name, self._log, subscription.settings, self._outlet
        )

    def _fail(self, error: BaseException, took: float, context: Context = NO_CONTEXT) -> Failed:
        exchanges = () if context is NO_CONTEXT else context.exchanges
        ended = self._clock()
        return make_failed(error, started=ended - took, ended=ended, exchanges=exchanges)


def _refuse(event: Event) -> NoReturn:
    raise Reject(f"the plugin has no handler for the type {event.type!r} any more")


def _tell(loop: asyncio.AbstractEventLoop, on_return: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop was closed before the handler returned
        loop.call_soon_threadsafe(on_return)
