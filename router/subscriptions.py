"""A subscription at work: its handlers are called with one event, and what came of it is told."""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Connection

from router.events import Event, EventType
from router.handlers import Handler
from router.hookspecs import Context, ReplayPolicy
from router.log import EventLog
from router.options import Options
from router.parking import Failure
from router.retry import Reject, Retry

MAX_ERROR = 2_000  # characters of an error that are kept
MAX_TRACEBACK = 20_000


class Subscription(msgspec.Struct, frozen=True):
    """One plugin's handlers with their options.

    Attributes:
        name: The plugin's.
        handlers: By the type of event; other types are not delivered.
        options: As declared and configured.
    """

    name: str
    handlers: Mapping[EventType, Handler]
    options: Options

    @property
    def is_transactional(self) -> bool:
        """Whether its effects are written in the transaction that settles the event."""
        return any(handler.is_transactional for handler in self.handlers.values())

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


class Failed(msgspec.Struct, frozen=True):
    """A call that did not succeed.

    Attributes:
        failure: For the record.
        after: Seconds that the handler asked to wait; None leaves it to the options.
        is_final: Whether no further attempt would help.
    """

    failure: Failure
    after: float | None = None
    is_final: bool = False


class Caller:
    """Calls the handlers of one subscription, plain functions on threads of its own.

    Args:
        subscription: Whose.
        log: For handlers that read.
        clock: Seconds since 1970.
    """

    def __init__(
        self, subscription: Subscription, *, log: EventLog, clock: Callable[[], float] = time.time
    ) -> None:
        self.subscription = subscription
        self._log = log
        self._clock = clock
        self._threads = ThreadPoolExecutor(
            subscription.options.concurrency, thread_name_prefix=f"router-{subscription.name}"
        )

    async def call(self, event: Event, *, attempt: int) -> Failed | None:
        """Call the handler of ``event`` and return how it failed, or None.

        An async handler is cancelled when its time is over. A plain one cannot be: it keeps its
        turn until it returns, and only then has failed. Whatever a handler raises ends here, but
        for a cancellation that comes from outside.
        """
        handler = self.subscription.handlers[event.type]
        started = self._clock()
        try:
            context = self._make_context(attempt, started)
            if handler.is_async:
                async with asyncio.timeout(self.subscription.options.timeout):
                    await handler.call(event, context, None)  # type: ignore[misc]
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, _call, handler, event, context)
                self._require_in_time(started)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._fail(error, started)
        except BaseException as error:  # the one place where what handlers raise ends
            return self._fail(error, started)
        return None

    def call_within(self, connection: Connection, event: Event, *, attempt: int) -> Failed | None:
        """Call a transactional handler in a savepoint of ``connection``; for a storage thread."""
        started = self._clock()
        handler = self.subscription.handlers[event.type]
        savepoint = connection.begin_nested()
        try:
            handler.call(event, self._make_context(attempt, started), connection)
            self._require_in_time(started)
        except BaseException as error:  # likewise
            savepoint.rollback()
            return self._fail(error, started)
        savepoint.commit()
        return None

    def close(self) -> None:
        """Let go of the threads; one that still runs a handler ends with it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _make_context(self, attempt: int, started: float) -> Context:
        limit = timedelta(seconds=self.subscription.options.timeout)
        deadline = datetime.fromtimestamp(started, UTC) + limit
        return Context(attempt, deadline, self.subscription.name, self._log)

    def _require_in_time(self, started: float) -> None:
        took = self._clock() - started
        if took > self.subscription.options.timeout:
            raise TimeoutError(f"the handler returned only after {took:.3f} s")

    def _fail(self, error: BaseException, started: float) -> Failed:
        match error:
            case Retry():
                outcome = "retry"
            case Reject():
                outcome = "rejected"
            case TimeoutError():
                outcome = "timed out"
            case _:
                outcome = "failed"
        failure = Failure(
            started_at=int(started * 1_000_000),
            duration=self._clock() - started,
            outcome=outcome,
            error=_describe(error, limit=self.subscription.options.timeout),
            traceback="".join(traceback.format_exception(error))[-MAX_TRACEBACK:],
        )
        after = error.after if isinstance(error, Retry) else None
        return Failed(failure, after, isinstance(error, Reject))


def _call(handler: Handler, event: Event, context: Context) -> None:
    try:
        handler.call(event, context, None)
    except StopIteration as error:  # a future cannot carry it
        raise RuntimeError("the handler raised StopIteration") from error


def _describe(error: BaseException, *, limit: float) -> str:
    text = str(error)
    if isinstance(error, Retry | Reject):
        return text[:MAX_ERROR]
    if isinstance(error, TimeoutError) and not text:
        text = f"the handler took longer than {limit:g} s"
    name = type(error).__name__
    return f"{name}: {text}"[:MAX_ERROR] if text else name
