"""One attempt to deliver an event: its turn, its call, and the record of what came of it."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from router.events import Event, Replaying
from router.ledger import Ledger, Outcome, Statement
from router.subscriptions import Caller, Failed, Undone
from router.turns import Pace, Turns


class Record(Protocol):
    """Writes down what came of an attempt; perhaps again, if its transaction came to nothing."""

    def __call__(self, connection: Connection, failed: Failed | None) -> Outcome | None:
        """Write it down and return what is to be counted."""


class Attempt(msgspec.Struct, frozen=True):
    """A call that is to be made.

    Attributes:
        number: 1 for the first.
        note: Notes in memory what is true once it is on record how the call ended.
        record: Writes down how it ended.
        begin: Writes down, before a call that is not the first, that it is made.
    """

    event: Event
    number: int
    note: Callable[[], None]
    record: Record
    begin: Statement | None = None


class Attempts:
    """Makes attempts: of one subject one at a time, at the agreed pace.

    A plugin that takes the connection is called within the transaction that records how the call
    ended, so that its effects are there exactly once. Of any other the success of a first attempt
    costs no statement: it goes on record with the next flush.

    Args:
        replaying: What handlers are told of the replay; None where it is live.
        turns: Shared by all deliveries of the subscription in this process.
    """

    def __init__(
        self,
        *,
        caller: Caller,
        ledger: Ledger,
        turns: Turns,
        pace: Pace,
        replaying: Replaying | None,
    ) -> None:
        self._caller = caller
        self._ledger = ledger
        self._turns = turns
        self._pace = pace
        self._replaying = replaying
        self._is_ordered = caller.subscription.options.order == "subject"
        self._is_transactional = caller.subscription.is_transactional
        self._in_line: set[asyncio.Task[object]] = set()
        self._is_stopped = False

    def key(self, event: Event) -> str:
        """What calls are made one after another for."""
        return event.subject if self._is_ordered else str(event.position)

    def stop(self) -> None:
        """Make no attempt any more: those that wait for their turn are cancelled."""
        self._is_stopped = True
        for task in self._in_line:
            task.cancel()

    async def make(self, attempt: Attempt) -> Failed | None:
        """Make an attempt and return how it failed, or None.

        Raises:
            LeaseLost: Another process has the lane; what came of the attempt is not on record.
        """
        key = self.key(attempt.event)
        await self._wait_for_turn(key)
        with ExitStack() as stack:
            stack.callback(self._turns.give_back, key)
            if attempt.begin is not None:
                await self._ledger.write(attempt.begin)
            if self._is_transactional:
                return await self._call_within(attempt)
            give_back = stack.pop_all().close
        event = self._tell(attempt.event)
        failed = await self._caller.call(event, attempt=attempt.number, on_return=give_back)
        if failed is None and attempt.begin is None:
            attempt.note()
            self._ledger.count("done")
        else:
            await self._ledger.write(partial(attempt.record, failed=failed), note=attempt.note)
        return failed

    async def _call_within(self, attempt: Attempt) -> Failed | None:
        called = Within(self._caller, self._tell(attempt.event), attempt)
        await self._ledger.write(called, note=attempt.note)
        return called.failed

    async def _wait_for_turn(self, key: str) -> None:
        task = asyncio.current_task()
        if task is None or self._is_stopped:
            raise asyncio.CancelledError
        self._in_line.add(task)
        try:
            await self._pace.keep()
            await self._turns.take(key, first=self._replaying is None)
        finally:
            self._in_line.discard(task)

    def _tell(self, event: Event) -> Event:
        """Let a handler see that it is called by a replay."""
        if self._replaying is None:
            return event
        return msgspec.structs.replace(event, replay=self._replaying)


class Within:
    """A call as a statement of the transaction that it takes part in, with the record of its end.

    Attributes:
        failed: How the call failed; known when the statement has been executed.
    """

    def __init__(self, caller: Caller, event: Event, attempt: Attempt) -> None:
        self.failed: Failed | None = None
        self._caller = caller
        self._event = event
        self._attempt = attempt
        self._is_undone = False

    def __call__(self, connection: Connection) -> Outcome | None:
        """Call the handler, unless it has ended the transaction of an earlier call."""
        if not self._is_undone:
            self.failed = self._call(connection)
        return self._attempt.record(connection, self.failed)

    def _call(self, connection: Connection) -> Failed | None:
        try:
            return self._caller.call_within(connection, self._event, attempt=self._attempt.number)
        except Undone as error:
            self.failed, self._is_undone = error.failed, True
            raise
