"""Tests of `router.subscriptions`: handlers are called, and what came of it is told."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from router.context import Context
from router.events import Event
from router.failures import MAX_ERROR, MAX_TRACEBACK, Failed
from router.hookspecs import ReplayPolicy, hookimpl
from router.lending import Lent
from router.log import EventLog
from router.options import Options
from router.retry import Reject, Retry
from router.store import Store
from router.subscriptions import Caller, Subscription, Undone
from tests.entries import append_messages
from tests.subscribers import make_subscription
from tests.waiting import until

# One engine is enough: what is tested is how handlers are called, not SQL.
pytestmark = pytest.mark.engines("sqlite")

# Policies.


@hookimpl(replay="allow")
def allow(event: Event) -> None:
    """Allow replays."""


@hookimpl(replay="skip")
def skip(event: Event) -> None:
    """Be left out of replays."""


@hookimpl(replay="refuse")
def refuse(event: Event) -> None:
    """Refuse replays."""


@hookimpl
def plain(event: Event) -> None:
    """Say nothing about replays."""


@hookimpl
def transactional(event: Event, connection: Connection) -> None:
    """Take part in the transaction."""


@pytest.mark.parametrize(
    ("handler", "configured", "expected"),
    [
        (plain, None, "skip"),
        (plain, "allow", "allow"),
        (plain, "refuse", "refuse"),
        (transactional, None, "allow"),
        (transactional, "skip", "skip"),
        (allow, None, "allow"),
        (allow, "skip", "skip"),
        (allow, "refuse", "refuse"),
        (skip, None, "skip"),
        (skip, "allow", "allow"),
        (refuse, None, "refuse"),
        (refuse, "allow", "refuse"),
        (refuse, "skip", "refuse"),
    ],
)
def test_a_replay_policy_is_what_the_most_particular_says(
    handler: Callable[..., object], configured: ReplayPolicy | None, expected: ReplayPolicy
) -> None:
    """The configuration goes before the decorator, it before the default; "refuse" always holds."""
    subscription = make_subscription(options=Options(replay=configured), on_message=handler)
    assert subscription.policies == {"message": expected}


def test_each_handler_has_its_own_policy() -> None:
    """Policies are told by type, for the types that are handled and no others."""
    subscription = make_subscription(on_message=allow, on_read=refuse, on_sent=plain)
    assert subscription.policies == {"message": "allow", "sent": "skip", "read": "refuse"}


def test_one_connection_makes_a_subscription_transactional() -> None:
    """A plugin that names the connection anywhere is replayed by default as a whole."""
    subscription = make_subscription(on_message=transactional, on_read=plain)
    assert subscription.is_transactional
    assert subscription.policies == {"message": "allow", "read": "allow"}
    assert not make_subscription(on_message=plain).is_transactional


# Calls.


@pytest.fixture
def event(log: EventLog) -> Event:
    """A message in the log."""
    append_messages(log, ["ana"])
    return log.find("1")


class Clock:
    """A clock that stands still until it is put forward.

    Attributes:
        now: Its time, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def read(self) -> float:
        """Return its time."""
        return self.now


class Calling:
    """Calls one handler, with what it takes to do so.

    Attributes:
        clock: What the calls go by.
    """

    def __init__(self, log: EventLog, event: Event) -> None:
        self.clock = Clock()
        self._log = log
        self._event = event

    def call(
        self, handler: Callable[..., object], *, timeout: float = 30, attempt: int = 1
    ) -> Failed | None:
        """Call ``handler`` on a loop of its own."""
        subscription = make_subscription(options=Options(timeout=timeout), on_message=handler)
        return asyncio.run(self.calling(subscription, attempt=attempt))

    async def calling(self, subscription: Subscription, *, attempt: int = 1) -> Failed | None:
        """Call the handler of ``subscription``."""
        caller = self.make_caller(subscription)
        try:
            return await caller.call(self._event, attempt=attempt)
        finally:
            caller.close()

    def make_caller(self, subscription: Subscription) -> Caller:
        """Return a caller that goes by `clock`."""
        return Caller(subscription, log=self._log, clock=self.clock.read, monotonic=self.clock.read)


@pytest.fixture
def calling(log: EventLog, event: Event) -> Calling:
    """What calls handlers."""
    return Calling(log, event)


def in_both_kinds(work: Callable[[], object]) -> list[Callable[..., object]]:
    """Return a plain and an async handler that do ``work``."""

    def handle(event: Event) -> None:
        work()

    async def handle_async(event: Event) -> None:
        await asyncio.sleep(0)
        work()

    return [handle, handle_async]


def raising(error: BaseException) -> list[Callable[..., object]]:
    """Return a plain and an async handler that raise ``error``."""

    def fail() -> None:
        raise error

    return in_both_kinds(fail)


def test_a_handler_that_returns_has_handled_the_event(calling: Calling) -> None:
    """Whatever a handler returns, its call has succeeded, once."""
    calls: list[int] = []
    for handler in in_both_kinds(lambda: calls.append(1)):
        assert calling.call(handler) is None
    assert calls == [1, 1]


def test_a_plain_handler_runs_on_a_thread_of_its_subscription(calling: Calling) -> None:
    """A handler that blocks does not block the loop."""
    threads: list[threading.Thread] = []
    handler, async_handler = in_both_kinds(lambda: threads.append(threading.current_thread()))
    calling.call(handler)
    calling.call(async_handler)
    assert threads[0].name.startswith("router-crm")
    assert threads[1] is threading.current_thread()


def test_plain_handlers_run_side_by_side(calling: Calling, event: Event) -> None:
    """There are as many threads as calls may be under way."""
    barrier = threading.Barrier(4)

    def meet(event: Event) -> None:
        barrier.wait(timeout=10)

    async def main() -> list[Failed | None]:
        caller = calling.make_caller(
            make_subscription(options=Options(concurrency=4), on_message=meet)
        )
        calls = [caller.call(event, attempt=1) for _ in range(4)]
        found = await asyncio.gather(*calls)
        caller.close()
        return found

    assert asyncio.run(main()) == [None] * 4


def test_a_handler_gets_its_event_and_context(
    calling: Calling, event: Event, log: EventLog
) -> None:
    """The context tells the attempt, the deadline, the subscription and the log."""
    given: list[tuple[Event, Context]] = []

    def handle(event: Event, context: Context) -> None:
        given.append((event, context))

    calling.call(handle, attempt=3, timeout=12)
    deadline = datetime.fromtimestamp(calling.clock.now, UTC) + timedelta(seconds=12)
    assert given == [(event, Context(3, deadline, "crm", log))]


def test_an_error_is_a_failure(calling: Calling) -> None:
    """What a handler raises is told by its type and text, with the place it came from."""
    for handler in raising(KeyError("name")):
        failed = calling.call(handler)
        assert failed is not None
        assert (failed.after, failed.is_final) == (None, False)
        assert failed.failure.outcome == "failed"
        assert failed.failure.error == "KeyError: 'name'"
        assert "test_subscriptions.py" in (failed.failure.traceback or "")


def test_when_a_call_began_and_how_long_it_took_is_told(calling: Calling) -> None:
    """A failure has its start in microseconds since 1970, and its length in seconds."""

    def take_two_seconds(event: Event) -> None:
        calling.clock.now += 2
        raise ValueError

    failed = calling.call(take_two_seconds)
    assert failed is not None
    assert failed.failure.started_at == 1_000_000_000_000
    assert failed.failure.duration == 2
    assert failed.failure.error == "ValueError"


def test_a_long_error_is_cut(calling: Calling) -> None:
    """An error of any length leaves a record of bounded size that keeps the traceback's end."""
    failed = calling.call(raising(ValueError("x" * 100_000))[0])
    assert failed is not None
    assert failed.failure.error == "ValueError: " + "x" * (MAX_ERROR - 12)
    assert len(failed.failure.traceback or "") == MAX_TRACEBACK


@pytest.mark.parametrize(
    ("error", "after", "text"),
    [
        (Retry(), None, "the handler asked for another attempt"),
        (Retry("the CRM is busy"), None, "the CRM is busy"),
        (Retry("soon", after="5m"), 300.0, "soon"),
        (Retry(after=0), 0.0, "the handler asked for another attempt"),
    ],
)
def test_a_handler_may_ask_for_the_event_again(
    calling: Calling, error: Retry, after: float | None, text: str
) -> None:
    """`Retry` is a failure that says when; without a time the options do."""
    for handler in raising(error):
        failed = calling.call(handler)
        assert failed is not None
        assert (failed.after, failed.is_final) == (after, False)
        assert (failed.failure.outcome, failed.failure.error) == ("retry", text)


def test_a_handler_may_reject_an_event(calling: Calling) -> None:
    """`Reject` is a failure after which no attempt would help."""
    for handler in raising(Reject("no such customer")):
        failed = calling.call(handler)
        assert failed is not None
        assert (failed.after, failed.is_final) == (None, True)
        assert failed.failure.outcome == "rejected"
        assert failed.failure.error == "no such customer"


def test_an_async_handler_is_cancelled_when_its_time_is_over(calling: Calling) -> None:
    """A handler that awaits for too long is ended, and has failed."""
    ended: list[str] = []

    async def wait_for_ever(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    failed = calling.call(wait_for_ever, timeout=0.01)
    assert ended == ["cancelled"]
    assert failed is not None
    assert failed.failure.outcome == "timed out"
    assert failed.failure.error == "TimeoutError: the handler took longer than 0.01 s"


def test_a_plain_handler_over_its_time_has_failed_when_it_returns(calling: Calling) -> None:
    """A plain handler cannot be ended; it is waited for, and its success comes too late."""

    def take_31_seconds(event: Event) -> None:
        calling.clock.now += 31

    failed = calling.call(take_31_seconds, timeout=30)
    assert failed is not None
    assert failed.failure.outcome == "timed out"
    assert failed.failure.error == "TimeoutError: the handler returned only after 31.000 s"


def test_a_plain_handler_may_take_all_its_time(calling: Calling) -> None:
    """A handler that returns in the last moment has succeeded."""

    def take_30_seconds(event: Event) -> None:
        calling.clock.now += 30

    assert calling.call(take_30_seconds, timeout=30) is None


def test_what_a_late_handler_raises_is_what_is_told(calling: Calling) -> None:
    """An error says more than that it came late."""

    def reject_late(event: Event) -> None:
        calling.clock.now += 31
        raise Reject("no such customer")

    failed = calling.call(reject_late, timeout=30)
    assert failed is not None
    assert (failed.is_final, failed.failure.outcome) == (True, "rejected")


def test_time_in_the_queue_for_a_thread_does_not_count(calling: Calling, event: Event) -> None:
    """A handler that waited for another to free its thread has all its time from then on."""
    begun = threading.Event()
    deadlines: list[datetime] = []

    def take_20_seconds(event: Event, context: Context) -> None:
        begun.wait(timeout=10)
        deadlines.append(context.deadline)
        calling.clock.now += 20

    async def main() -> list[Failed | None]:
        options = Options(concurrency=1, timeout=30)
        caller = calling.make_caller(make_subscription(options=options, on_message=take_20_seconds))
        calls = [asyncio.create_task(caller.call(event, attempt=1)) for _ in range(2)]
        await asyncio.sleep(0)  # both are in the queue
        begun.set()
        found = await asyncio.gather(*calls)
        caller.close()
        return found

    assert asyncio.run(main()) == [None, None]
    assert deadlines[1] - deadlines[0] == timedelta(seconds=20)


def test_a_handlers_own_time_out_is_told_as_such(calling: Calling) -> None:
    """A time-out within the handler is not mistaken for the end of the handler's own time."""

    async def wait_for_the_crm(event: Event) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    failed = calling.call(wait_for_the_crm, timeout=30)
    assert failed is not None
    assert "30 s" not in failed.failure.error


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError("by myself"),
        SystemExit(1),
        KeyboardInterrupt(),
        StopIteration(),
        StopAsyncIteration(),
        GeneratorExit(),
        BaseExceptionGroup("several", [SystemExit(), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_that_a_handler_raises_gets_out(calling: Calling, error: BaseException) -> None:
    """What would end a process, a task or a generator is a failed call, no more."""
    for handler in raising(error):
        failed = calling.call(handler)
        assert failed is not None
        assert failed.failure.outcome == "failed"
        assert not failed.is_final


class Mute(Exception):
    """An error that cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_cannot_be_told_is_a_failure_too(calling: Calling) -> None:
    """An error whose text cannot be had is told by its type."""
    for handler in raising(Mute()):
        failed = calling.call(handler)
        assert failed is not None
        assert failed.failure.outcome == "failed"
        assert failed.failure.error.startswith("Mute")


def test_an_error_is_told_in_text_that_can_be_stored(calling: Calling) -> None:
    """Half a surrogate pair and NUL, which JSON may hold and a database cannot, are spelt out."""
    for kind in (ValueError, Retry, Reject):
        failed = calling.call(raising(kind("half \ud83d and \0"))[0])
        assert failed is not None
        assert failed.failure.error.endswith(r"half \ud83d and \0")
        assert "\0" not in (failed.failure.traceback or "\0")
        assert (failed.failure.traceback or "").encode()


def test_a_cancellation_from_outside_is_not_a_failure(calling: Calling) -> None:
    """Who cancels the call, ends it; the handler is cancelled with it."""
    ended: list[str] = []
    begun: list[str] = []

    async def wait_for_ever(event: Event) -> None:
        begun.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def main() -> None:
        task = asyncio.create_task(calling.calling(make_subscription(on_message=wait_for_ever)))
        await until(lambda: begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["ended"]


def test_a_handler_that_cancels_itself_has_failed(calling: Calling) -> None:
    """A handler's own cancellation is no cancellation from outside."""

    async def cancel(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    failed = calling.call(cancel)
    assert failed is not None
    assert failed.failure.outcome == "failed"
    assert failed.failure.error.startswith("CancelledError")


def test_a_handler_that_does_not_heed_its_end_has_failed(calling: Calling) -> None:
    """An async handler that goes on when its time is over is waited for, and was too late."""

    async def go_on(event: Event) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    failed = calling.call(go_on, timeout=0.01)
    assert failed is not None
    assert failed.failure.outcome == "timed out"


def test_an_event_without_a_handler_is_rejected(calling: Calling) -> None:
    """What a plugin handled when a replay was planned, and does not any more, is set aside."""
    failed = asyncio.run(calling.calling(make_subscription(on_read=plain)))
    assert failed is not None
    assert failed.is_final
    assert failed.failure.error == "the plugin has no handler for the type 'message' any more"


def test_that_a_handler_has_returned_is_told(calling: Calling, event: Event) -> None:
    """The return is told once, on the loop, whether the call succeeded or not."""
    told: list[threading.Thread] = []

    async def main(handler: Callable[..., object]) -> None:
        caller = calling.make_caller(make_subscription(on_message=handler))
        before = len(told)
        await caller.call(
            event, attempt=1, on_return=lambda: told.append(threading.current_thread())
        )
        await until(lambda: len(told) > before)
        caller.close()

    for handler in [*in_both_kinds(lambda: None), *raising(ValueError())]:
        asyncio.run(main(handler))
    assert told == [threading.current_thread()] * 4


def test_a_return_after_a_cancellation_is_told(calling: Calling, event: Event) -> None:
    """Who cancels the call of a plain handler learns when that has returned after all."""
    begun, may_end = threading.Event(), threading.Event()
    told: list[str] = []

    def handle(event: Event) -> None:
        begun.set()
        assert may_end.wait(10)

    async def main() -> None:
        caller = calling.make_caller(make_subscription(on_message=handle))
        task = asyncio.create_task(
            caller.call(event, attempt=1, on_return=lambda: told.append("returned"))
        )
        await until(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told == []
        may_end.set()
        await until(lambda: told == ["returned"])
        caller.close()

    asyncio.run(main())


# Calls within a transaction.


def call_within(
    calling: Calling, store: Store, event: Event, handler: Callable[..., object]
) -> tuple[Failed | None, list[str]]:
    """Call a transactional handler between two changes; return what came of it, and all changes."""
    caller = calling.make_caller(make_subscription(on_message=handler))
    insert = "INSERT INTO alias VALUES ('', :name, '')"
    with store.writing() as connection:
        connection.exec_driver_sql(insert, {"name": "before"})
        with Lent(connection) as lent:
            failed = caller.call_within(lent, event, attempt=1)
        connection.exec_driver_sql(insert, {"name": "behind"})
    caller.close()
    with store.reading() as connection:
        rows = connection.exec_driver_sql("SELECT contact FROM alias ORDER BY rowid")
        return failed, list(rows.scalars())


def write_alias(event: Event, connection: Connection) -> None:
    """Have an effect in the transaction."""
    connection.exec_driver_sql(f"INSERT INTO alias VALUES ('', '{event.subject}', '')")  # noqa: S608


def test_a_transactional_handler_writes_with_its_event(
    calling: Calling, store: Store, event: Event
) -> None:
    """What a handler writes becomes part of the owner's transaction."""
    failed, rows = call_within(calling, store, event, write_alias)
    assert failed is None
    assert rows == ["before", ":ana", "behind"]


@pytest.mark.parametrize("error", [ValueError("no"), Reject("no"), SystemExit(), StopIteration()])
def test_a_failing_transactional_handler_leaves_no_effect(
    calling: Calling, store: Store, event: Event, error: BaseException
) -> None:
    """What a failed call wrote is taken back, and nothing else of the transaction."""

    def write_and_fail(event: Event, connection: Connection) -> None:
        write_alias(event, connection)
        raise error

    failed, rows = call_within(calling, store, event, write_and_fail)
    assert failed is not None
    assert failed.is_final == isinstance(error, Reject)
    assert rows == ["before", "behind"]


def test_a_late_transactional_handler_leaves_no_effect(
    calling: Calling, store: Store, event: Event
) -> None:
    """What a handler wrote that returned too late is taken back."""

    def write_late(event: Event, connection: Connection) -> None:
        write_alias(event, connection)
        calling.clock.now += 31

    failed, rows = call_within(calling, store, event, write_late)
    assert failed is not None
    assert failed.failure.outcome == "timed out"
    assert rows == ["before", "behind"]


@pytest.mark.parametrize("way", ["commit", "rollback", "close", "invalidate"])
def test_a_handler_cannot_end_the_transaction(
    calling: Calling, store: Store, event: Event, way: str
) -> None:
    """The connection refuses what would end the transaction, which is a failure like any other."""

    def write_and_end(event: Event, connection: Connection) -> None:
        write_alias(event, connection)
        getattr(connection, way)()

    failed, rows = call_within(calling, store, event, write_and_end)
    assert failed is not None
    assert "the router ends this transaction" in failed.failure.error
    assert rows == ["before", "behind"]


def test_a_handler_that_ends_the_transaction_after_all_is_found_out(
    calling: Calling, store: Store, event: Event
) -> None:
    """Nothing more is written in a transaction that a handler ended behind SQLAlchemy's back."""

    def end(event: Event, connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.cursor().execute("ROLLBACK")

    with pytest.raises(Undone) as error:
        call_within(calling, store, event, end)
    assert error.value.failed.failure.outcome == "failed"
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alias").scalar_one() == 0
