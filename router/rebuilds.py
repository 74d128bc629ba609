"""Rebuilds: a plugin's tables are filled anew from history, then take the place of the old ones."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from router import dependents, fresh_tables
from router.claims import LIVE
from router.delivery import Delivery
from router.errors import RouterError, trace
from router.lane import Key
from router.rebuild_record import RebuildRecord, Switched
from router.replay import Replays
from router.replay_plan import Plan
from router.subscriptions import Subscription

T = TypeVar("T")

CLOSE = 1_000  # events behind live delivery at which a switch is thought of
HALT = 0.1  # seconds that it may take to come as far as live delivery
PACE = 5.0  # seconds over which the pace of a rebuild is taken
PATIENCE = 1.0  # seconds that each step of a switch may take
REST = 5.0  # seconds from one try to the next
BREATH = 0.001  # seconds between two looks whether a delivery has come so far

logger = logging.getLogger("router.rebuilds")


class Ask(Protocol):
    """Runs something on a thread that may talk to the database."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Return what it gives."""


class Rebuilds:
    """Sees to the rebuilds of a worker: each ends when its tables have become the live ones.

    Their deliveries are those of replays without an end, in lanes of their own. When one is close
    behind live delivery, that is halted, what is missing is handled, and in one transaction the
    tables change their names and the live lanes go on from where the rebuild has come. So whatever
    the new tables hold is what the live lanes have settled, exactly.

    Args:
        record: What is on record of them.
        running: The deliveries under way, by key.
        runs: The rebuilds among these, and the names of their subscriptions.
        ask: Asks the database.
        claim: Takes up lanes that are free.
        stopping: Set when the worker stops.

    Attributes:
        halted: The subscriptions whose lanes are to be left alone for a moment.
    """

    def __init__(
        self,
        record: RebuildRecord,
        *,
        running: Mapping[Key, Delivery],
        runs: Mapping[int, str],
        ask: Ask,
        claim: Callable[[], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        self.halted: set[str] = set()
        self._record = record
        self._running = running
        self._runs = runs
        self._ask = ask
        self._claim = claim
        self._stopping = stopping
        self._rest_until = 0.0
        self._seen: dict[int, tuple[float, int]] = {}  # when a rebuild had come how far

    async def look(self) -> None:
        """Switch what is ready."""
        for run, name in list(self._runs.items()):
            try:
                if await self._is_ready(name, run):
                    await self._halt_and_switch(name, run)
            except Exception as error:
                self._rest_until = time.monotonic() + REST
                logger.error("rebuild %d could not end: %s", run, trace(error))
                await self._ask(partial(self._record.tell, run, f"it could not end: {error}"))

    async def _is_ready(self, name: str, run: int) -> bool:
        """Whether live delivery would be halted for a moment only."""
        distance = self._distance(name, run)
        if distance > CLOSE or not await self._ask(partial(self._record.may_switch, name, run)):
            return False
        if time.monotonic() < self._rest_until:
            return False
        return await self._until(lambda: self._needs(name, run) <= HALT, seconds=HALT)

    def _needs(self, name: str, run: int) -> float:
        """How many seconds a rebuild needs to come as far as live delivery, at its pace so far."""
        now, come = time.monotonic(), self._come(name, run)
        since, before = self._seen.setdefault(run, (now, come))
        if now - since > PACE:
            self._seen[run] = now, come
        distance = self._distance(name, run)
        if distance <= 0:
            return 0.0
        speed = (come - before) / (now - since) if now > since else 0.0
        return distance / speed if speed > 0 else math.inf

    def _come(self, name: str, run: int) -> int:
        mine = self._deliveries(name, run)
        return min((one.ledger.progress.checkpoint for one in mine), default=0)

    def _deliveries(self, name: str, run: int) -> list[Delivery]:
        return [one for key, one in self._running.items() if key[:2] == (name, run)]

    def _distance(self, name: str, run: int) -> float:
        """How many events a rebuild is behind; without end where not all of it is at work here."""
        mine, live = self._deliveries(name, run), self._deliveries(name, LIVE)
        if not mine or len(mine) != len(live):
            return math.inf
        return max(one.ledger.progress.checkpoint for one in live) - self._come(name, run)

    async def _halt_and_switch(self, name: str, run: int) -> None:
        """Halt live delivery, switch, and let it go on, with the new tables or the old ones."""
        began = time.monotonic()
        lanes = len(self._deliveries(name, LIVE))
        self.halted.add(name)
        try:
            switched = await self._switch(name, run)
        finally:
            self.halted.discard(name)
            await self._claim()
        await self._until(lambda: len(self._deliveries(name, LIVE)) == lanes)
        halted = round((time.monotonic() - began) * 1_000)
        if switched is None:
            text = "live delivery was halted for %d ms, and the rebuild could not end yet"
            logger.warning("rebuild %d: " + text, run, halted)
            await self._ask(partial(self._record.tell, run, text % halted))
            self._rest_until = time.monotonic() + REST
        else:
            await self._ask(partial(self._record.write_down, name, run, switched, halted=halted))

    async def _switch(self, name: str, run: int) -> Switched | None:
        """Let the rebuild come as far as live delivery has, then switch; None if it does not."""
        if not await self._stop(name, LIVE):
            return None
        goal = await self._ask(partial(self._record.find_end, name))
        mine = self._deliveries(name, run)
        for one in mine:
            one.wake()
        if not await self._until(
            lambda: all(one.ledger.progress.checkpoint >= goal for one in mine)
        ):
            return None
        if not await self._stop(name, run):
            return None
        return await self._ask(partial(self._record.switch, name, run, goal=goal))

    async def _stop(self, name: str, run: int) -> bool:
        """Let deliveries end their calls and give their lanes back; whether they have."""
        for one in self._deliveries(name, run):
            one.stop()
        return await self._until(lambda: not self._deliveries(name, run))

    async def _until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end or self._stopping.is_set():
                return False
            await asyncio.sleep(BREATH)
        return True


def find_rebuild_objection(subscription: Subscription, names: tuple[str, ...]) -> str | None:
    """Return why the tables of a subscription's plugin cannot be rebuilt; None where they can.

    Args:
        subscription: Whose.
        names: Of the tables that are to be filled anew.
    """
    metadata = subscription.tables
    if not subscription.is_transactional:
        return (
            "only a plugin whose handlers name `connection` can be rebuilt: of others nobody knows "
            "what they have done"
        )
    if metadata is None or not metadata.tables:
        return "its plugin keeps no tables: the hook tables() gives none"
    refusing = [type_ for type_, policy in subscription.policies.items() if policy == "refuse"]
    if refusing:
        return f"its handlers for {', '.join(refusing)} refuse replays"
    if {table.name for table in metadata.sorted_tables} != set(names):
        return "its plugin keeps other tables by now: start another rebuild"
    return fresh_tables.find_obstacle(metadata)


def find_tables(subscription: Subscription) -> list[str]:
    """Return the names of the tables that a rebuild of a subscription fills anew.

    Raises:
        RouterError: It cannot be rebuilt; says why.
    """
    metadata = subscription.tables
    names = [] if metadata is None else sorted(metadata.tables)
    why = find_rebuild_objection(subscription, tuple(names))
    if why is not None:
        raise RouterError(f"{subscription.name!r} cannot be rebuilt: {why}")
    return names


def plan_rebuild(replays: Replays, subscription: Subscription, *, is_partial: bool) -> Plan:
    """Count what a rebuild would do, with the handlers as they are at hand.

    Args:
        replays: Plans.
        subscription: Whose.
        is_partial: Whether it may be done though the log was pruned.

    Raises:
        RouterError: The log does not begin at its first position, and that was not allowed; or
            something hangs on its tables that fresh ones cannot have.
    """
    with replays.store.reading() as connection:
        tables = subscription.tables.tables if subscription.tables is not None else ()
        why = dependents.find_hindrance(connection, tables)
    if why is not None:
        raise RouterError(f"{subscription.name!r} cannot be rebuilt: {why}")
    first = replays.find_first()
    if first > 1 and not is_partial:
        raise RouterError(
            f"the log begins at position {first}, since it was pruned: what the tables of "
            f"{subscription.name!r} know of events before would be lost. If that is wanted, say "
            "--partial, in Python is_partial=True"
        )
    return replays.plan(subscription.name, include_effects=True, policies=subscription.policies)
