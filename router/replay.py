"""Replays on record: a range of history that is handed to one subscription again."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from sqlalchemy import Connection, insert, select, update

from router import audit, replay_lanes
from router.errors import RouterError, UnknownName
from router.filters import Filter
from router.hookspecs import ReplayPolicy
from router.log import EVERYTHING, EventLog
from router.replay_plan import Plan, Refused
from router.replay_record import Replay, make_replay, select_replays
from router.replay_states import CANCELLED, FINISHED, PAUSED, PLANNED, RUNNING
from router.store import Store

Policies = Mapping[str, ReplayPolicy]


class Replays:
    """Plans, starts, lists and steers replays; a worker of their subscription carries them out.

    Plain calls, each one transaction: in a coroutine write
    ``await asyncio.to_thread(router.replays.pause, 7, actor="ana")``. Those that change something
    take who wants it, and why, for the record.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._store = log.store
        self._tables = log.store.tables

    @property
    def store(self) -> Store:
        """The database."""
        return self._store

    def plan(
        self,
        subscription: str,
        *,
        first: int = 1,
        end: int | None = None,
        matching: Filter = EVERYTHING,
        include_effects: bool = False,
        policies: Policies | None = None,
    ) -> Plan:
        """Count what a replay of the positions from ``first`` to below ``end`` would do.

        Args:
            subscription: Its name.
            first: The first position.
            end: The position behind the last; None is the end of the log as it is now.
            matching: Which events. A time narrows the range to the positions that match.
            include_effects: Whether handlers are called, too, that replays skip otherwise.
            policies: What its handlers want, by type, where its plugin is at hand; None is what the
                last worker has put on record.

        Raises:
            UnknownName: No worker has ever run a subscription of that name.
        """
        declared = self._find_policies(subscription) if policies is None else policies
        head = self._log.head()
        first = max(first, 1)
        end = max(first, head + 1 if end is None else min(end, head + 1))
        wanted = [type_ for type_ in declared if not matching.types or type_ in matching.types]
        by_type: Mapping[str, int] = {}
        if wanted and end > first:
            narrowed = msgspec.structs.replace(matching, types=tuple(wanted))
            if matching.since or matching.until:  # lest all before be read in search of the first
                first, end = self._narrow(first, end, narrowed)
            by_type = self._log.count_by_type(after=first - 1, until=end - 1, matching=narrowed)
        return Plan(
            subscription=subscription,
            first=first,
            end=end,
            matching=matching,
            by_type=by_type,
            declared={type_: declared[type_] for type_ in wanted},
            include_effects=include_effects,
            overlapping=self._find_overlapping(subscription, first, end),
        )

    def start(
        self,
        plan: Plan,
        *,
        reason: str,
        by: str,
        rate: float | None = None,
        concurrency: int | None = None,
        rebuilds: Sequence[str] | None = None,
    ) -> Replay:
        """Write down the replay that was planned; a worker takes it up.

        Args:
            plan: What it does.
            reason: Why; handlers see it, too.
            by: Who wants it.
            rate: Events a second, at most; the subscription's own limit holds, too.
            concurrency: Calls at a time; None is the subscription's own limit, which it shares
                with its other replays.
            rebuilds: The names of the tables that are to be filled anew; then it goes on, beyond
                what was planned, until they can take the place of the old ones.

        Raises:
            Refused: The plan does not allow it, or the subscription is being rebuilt already.
        """
        plan.require_allowed()
        _require_sensible(rate=rate, concurrency=concurrency)
        matching = msgspec.structs.replace(plan.matching, types=plan.types)
        skipped = {t: {"skipped": n} for t, n in plan.by_type.items() if t not in plan.types}
        values: dict[str, object] = {
            "subscription": plan.subscription,
            "state": PLANNED,
            "from_position": plan.first,
            "to_position": plan.end,
            "filter": matching.as_json(),
            "include_effects": plan.include_effects,
            "rate": rate,
            "concurrency": concurrency,
            "reason": reason,
            "created_by": by,
            "created_at": self._store.now(),
            "total": plan.total,
            "done": 0,
            "failed": 0,
            "counts": json.dumps(skipped),
            "rebuilds": None if rebuilds is None else json.dumps(list(rebuilds)),
        }
        with self._store.writing() as connection:
            if rebuilds is not None:
                self._require_no_rebuild(connection, plan.subscription)
            inserted = connection.execute(insert(self._tables.replay).values(values))
            number = cast("Sequence[int]", inserted.inserted_primary_key)[0]
            detail = {"total": plan.total, "include_effects": plan.include_effects}
            audit.record(
                connection,
                self._store,
                actor=by,
                action="replay start",
                target=f"replay {number} of {plan.subscription}",
                detail={"reason": reason, **detail},
            )
        return self.find(number)

    def list(self, *, limit: int, before: int | None = None) -> list[Replay]:
        """Return the newest replays, those with an id below ``before``."""
        table = self._tables.replay
        query = select_replays(self._tables).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._store.reading() as connection:
            return [make_replay(row) for row in connection.execute(query)]

    def find(self, number: int) -> Replay:
        """Return the replay with this id.

        Raises:
            UnknownName: There is none.
        """
        query = select_replays(self._tables).where(self._tables.replay.c.id == number)
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise _unknown(number)
        return make_replay(row)

    def find_first(self) -> int:
        """The first position of the log; 1 unless it was pruned, or where it is empty."""
        found = self._log.find_range()
        return 1 if found is None else found[0]

    def pause(self, number: int, *, actor: str, reason: str = "") -> bool:
        """Hand nothing over any more until it is resumed; whether that is a change.

        Raises:
            UnknownName: There is no such replay.
            RouterError: It has ended.
        """
        return self._change(number, "pause", PAUSED, actor=actor, reason=reason)

    def resume(self, number: int, *, actor: str, reason: str = "") -> bool:
        """Let a paused replay go on where it stands; whether that is a change.

        Raises:
            UnknownName: There is no such replay.
            RouterError: It has ended.
        """
        return self._change(number, "resume", RUNNING, actor=actor, reason=reason)

    def cancel(self, number: int, *, actor: str, reason: str = "") -> None:
        """End a replay for good where it stands. Its dead letters stay; retries are given up.

        The calls under way end as ever.

        Raises:
            UnknownName: There is no such replay.
            RouterError: It has ended.
        """
        self._change(number, "cancel", CANCELLED, actor=actor, reason=reason)

    def _change(self, number: int, action: str, state: str, *, actor: str, reason: str) -> bool:
        table = self._tables.replay
        with self._store.writing() as connection:
            this = select(table).where(table.c.id == number).with_for_update()  # it may be ending
            row = connection.execute(this).first()
            if row is None:
                raise _unknown(number)
            if row.state in FINISHED:
                raise RouterError(f"replay {number} is {row.state}: there is nothing to {action}")
            if row.state == state or (action == "resume" and row.state != PAUSED):
                return False
            if action == "resume" and row.started_at is None:
                state = PLANNED
            ended = self._store.now() if state in FINISHED else None
            changed = update(table).where(table.c.id == number)
            connection.execute(changed.values(state=state, finished_at=ended, last_error=None))
            if state in FINISHED:
                replay_lanes.clear(connection, self._store, number)
            detail = {"was": row.state, "done": row.done, "failed": row.failed}
            audit.record(
                connection,
                self._store,
                actor=actor,
                action=f"replay {action}",
                target=f"replay {number} of {row.subscription}",
                detail={"reason": reason, **detail},
            )
        return True

    def _find_policies(self, subscription: str) -> Policies:
        table = self._tables.subscription
        with self._store.reading() as connection:
            rows = connection.execute(select(table.c.name, table.c.types)).all()
        known = {row.name: row.types for row in rows}
        if subscription in known:
            found: Policies = json.loads(known[subscription])
            return found
        raise UnknownName(
            f"there is no subscription {subscription!r} (known: {', '.join(known) or 'none'}): "
            "it comes into being when `router serve` or `router worker` first loads its plugin. "
            "If the plugin is installed and has not run yet, add --new"
        )

    def _narrow(self, first: int, end: int, matching: Filter) -> tuple[int, int]:
        found = self._log.find_range(after=first - 1, until=end - 1, matching=matching)
        return (first, first) if found is None else (found[0], found[1] + 1)

    def _find_overlapping(self, subscription: str, first: int, end: int) -> Sequence[int]:
        if end == first:
            return []
        table = self._tables.replay.c
        query = select(table.id).where(
            table.subscription == subscription,
            table.state.not_in(FINISHED),
            table.from_position < end,
            table.to_position > first,
        )
        with self._store.reading() as connection:
            return connection.scalars(query.order_by(table.id)).all()

    def _require_no_rebuild(self, connection: Connection, subscription: str) -> None:
        table = self._tables.replay.c
        mine = table.subscription == subscription, table.state.not_in(FINISHED)
        query = select(table.id).where(*mine, table.rebuilds.is_not(None))
        number = connection.scalars(query).first()
        if number is not None:
            raise Refused(
                f"{subscription!r} is being rebuilt already: wait for replay {number}, or cancel "
                f"it with `router replay cancel {number}`"
            )


def _unknown(number: int) -> UnknownName:
    return UnknownName(f"there is no replay {number}: `router replay list` shows all")


def _require_sensible(*, rate: float | None, concurrency: int | None) -> None:
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        raise RouterError(f"a replay goes at some events a second, more than 0; {rate:g} is none")
    if concurrency is not None and concurrency < 1:
        raise RouterError(f"a replay makes at least 1 call at a time, not {concurrency}")
