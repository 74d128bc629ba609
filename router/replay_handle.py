"""A replay in the hand of who started it: to be looked at, waited for, paused and ended."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypedDict, TypeVar, Unpack

from router.filters import Filter
from router.log import EVERYTHING
from router.rebuilds import find_tables, plan_rebuild
from router.replay import Policies, Replays
from router.replay_record import Replay
from router.subscriptions import Subscription

T = TypeVar("T")

POLL = 0.2  # seconds between two looks


class ReplayOptions(TypedDict, total=False):
    """How a replay is to go.

    Attributes:
        first: The first position; default: the log's first.
        end: The position behind the last; default: the end of the log as it is now.
        matching: Which events; default: all that the plugin handles.
        rate: Events a second, at most; default: as the subscription's options have it.
        concurrency: Calls at a time; default: likewise.
        reason: Why; handlers see it, too.
        include_effects: Whether handlers are called, too, that replays skip otherwise.
        actor: Who wants it, for the record.
    """

    first: int
    end: int | None
    matching: Filter
    rate: float | None
    concurrency: int | None
    reason: str
    include_effects: bool
    actor: str


class ReplayHandle:
    """A replay that was started.

    It goes on without this handle, too, and survives restarts: `Router.replays` finds it by its id.

    Args:
        started: The replay as it was then.
        replays: Where it is on record.
        actor: Who steers it, for the record.

    Attributes:
        id: Of the replay.
        total: How many events it hands over.
    """

    def __init__(self, started: Replay, *, replays: Replays, actor: str) -> None:
        self.id = started.id
        self.total = started.total
        self._replays = replays
        self._actor = actor

    async def progress(self) -> Replay:
        """Return the replay as it stands."""
        return await self._ask(partial(self._replays.find, self.id))

    async def result(self) -> Replay:
        """Wait until it has ended, and return it as it stands then: see ``state`` and ``failed``.

        It ends only where a worker runs its subscription. A rebuild that has paused itself is
        returned, too: see ``last_error``.
        """
        while not (found := await self.progress()).is_at_rest:
            await asyncio.sleep(POLL)
        return found

    async def pause(self, *, reason: str = "") -> bool:
        """Hand nothing over any more until it is resumed; whether that is a change."""
        return await self._ask(
            partial(self._replays.pause, self.id, actor=self._actor, reason=reason)
        )

    async def resume(self, *, reason: str = "") -> bool:
        """Let it go on where it was paused; whether that is a change."""
        return await self._ask(
            partial(self._replays.resume, self.id, actor=self._actor, reason=reason)
        )

    async def cancel(self, *, reason: str = "") -> None:
        """End it for good where it stands."""
        await self._ask(partial(self._replays.cancel, self.id, actor=self._actor, reason=reason))

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.to_thread(question)


async def start_replay(
    replays: Replays,
    subscription: str,
    *,
    policies: Policies | None,
    **how: Unpack[ReplayOptions],
) -> ReplayHandle:
    """Plan and start a replay, and return it.

    Args:
        replays: Where it is put on record.
        subscription: To whom.
        policies: What its handlers want, by type, where its plugin is at hand.
        how: The rest.
    """
    unknown = how.keys() - ReplayOptions.__annotations__.keys()
    if unknown:  # what is left out of the choice would be replayed
        raise TypeError(f"a replay has no option {', '.join(sorted(unknown))}")
    actor = how.get("actor", "")

    def begin() -> Replay:
        plan = replays.plan(
            subscription,
            first=how.get("first", 1),
            end=how.get("end"),
            matching=how.get("matching", EVERYTHING),
            include_effects=how.get("include_effects", False),
            policies=policies,
        )
        return replays.start(
            plan,
            reason=how.get("reason", ""),
            by=actor,
            rate=how.get("rate"),
            concurrency=how.get("concurrency"),
        )

    started = await asyncio.to_thread(begin)
    return ReplayHandle(started, replays=replays, actor=actor)


async def start_rebuild(
    replays: Replays, subscription: Subscription, *, reason: str, actor: str, is_partial: bool
) -> ReplayHandle:
    """Start to fill the tables of a plugin anew, and return the replay that does it.

    Args:
        replays: Where it is put on record.
        subscription: Whose.
        reason: Why.
        actor: Who wants it, for the record.
        is_partial: Whether it may be done though the log was pruned.

    Raises:
        RouterError: Its tables cannot be rebuilt; says why.
    """
    tables = find_tables(subscription)

    def begin() -> Replay:
        plan = plan_rebuild(replays, subscription, is_partial=is_partial)
        return replays.start(plan, reason=reason, by=actor, rebuilds=tables)

    started = await asyncio.to_thread(begin)
    return ReplayHandle(started, replays=replays, actor=actor)
