"""Replays on record: a range of history that is handed to one subscription again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from router import audit, replay_lanes
from router.errors import RouterError, UnknownName
from router.filters import Filter
from router.hookspecs import ReplayPolicy
from router.lanes import Lane
from router.log import EventLog
from router.replay_lanes import DONE, PLANNED, RUNNING


class Refused(RouterError):
    """A replay would call nothing, or what it must not; says the ways to allow it."""


class Plan(msgspec.Struct, frozen=True):
    """What a replay would do, counted before it does anything.

    Attributes:
        first: The first position.
        end: The position behind the last, fixed when the plan is made.
        by_type: How many events match, by type.
        policies: What becomes of each type.
    """

    subscription: str
    first: int
    end: int
    matching: Filter
    by_type: Mapping[str, int]
    policies: Mapping[str, ReplayPolicy]

    @property
    def types(self) -> tuple[str, ...]:
        """The types that handlers will be called with."""
        return tuple(type_ for type_, policy in self.policies.items() if policy == "allow")

    @property
    def total(self) -> int:
        """How many events handlers will be called with."""
        return self.count("allow")

    def count(self, policy: ReplayPolicy) -> int:
        """Count the matching events that ``policy`` holds for."""
        return sum(n for type_, n in self.by_type.items() if self.policies[type_] == policy)

    def require_allowed(self) -> None:
        """Refuse what must not be replayed, and what would be replayed to nobody.

        Raises:
            Refused: Says which types, and how to allow them.
        """
        refused = sorted(t for t in self.by_type if self.policies[t] == "refuse")
        if refused:
            raise Refused(
                f"the handlers of {self.subscription!r} for {', '.join(refused)} refuse replays: "
                "leave those types out with --type"
            )
        if not self.policies:
            raise Refused(f"{self.subscription!r} handles none of the types asked for")
        if not self.types or (self.by_type and not self.total):
            raise Refused(
                f"all {sum(self.by_type.values())} matching events would be skipped: the handlers "
                f"of {self.subscription!r} may have effects outside the database. Allow them for "
                f'this replay with --include-effects, for all with replay = "allow" in '
                f'[subscriptions.{self.subscription}], or in code with @hookimpl(replay="allow")'
            )


class Replay(msgspec.Struct, frozen=True):
    """One replay as it stands.

    Attributes:
        first: The first position.
        end: The position behind the last.
        total: How many events it hands over.
        done: How many were handled.
        failed: How many became dead letters.
        rate: Events a second; None for the subscription's own limit.
        matching: Which events, with the types that handlers are called with.
    """

    id: int
    subscription: str
    state: str
    first: int
    end: int
    total: int
    done: int
    failed: int
    rate: float | None
    reason: str
    matching: Filter

    def as_dict(self) -> dict[str, object]:
        """The replay as every JSON output shows it."""
        return {
            "id": self.id,
            "subscription": self.subscription,
            "state": self.state,
            "from": self.first,
            "to": self.end,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "rate": self.rate,
        }


class Replays:
    """The statements on the table replay."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._store = log.store
        self._tables = log.store.tables

    def plan(
        self,
        subscription: str,
        *,
        first: int = 1,
        end: int | None = None,
        matching: Filter,
        include_effects: bool = False,
    ) -> Plan:
        """Count what a replay of the positions from ``first`` to below ``end`` would do.

        Raises:
            UnknownName: No worker has ever run a subscription of that name.
        """
        policies = self._find_policies(subscription)
        head = self._log.head()
        first = max(first, 1)
        end = max(first, head + 1 if end is None else min(end, head + 1))
        wanted = [type_ for type_ in policies if not matching.types or type_ in matching.types]
        counts: dict[str, int] = {}
        if wanted and end > first:
            counts = self._log.count_by_type(
                after=first - 1,
                until=end - 1,
                matching=msgspec.structs.replace(matching, types=tuple(wanted)),
            )
        return Plan(
            subscription=subscription,
            first=first,
            end=end,
            matching=matching,
            by_type=counts,
            policies={type_: _decide(policies[type_], include_effects) for type_ in wanted},
        )

    def start(self, plan: Plan, *, reason: str, by: str, rate: float | None = None) -> Replay:
        """Write down the replay that was planned; a worker takes it up.

        Raises:
            Refused: The plan does not allow it.
        """
        plan.require_allowed()
        table = self._tables.replay
        matching = msgspec.structs.replace(plan.matching, types=plan.types)
        now = self._store.now()
        values: dict[str, object] = {
            "subscription": plan.subscription,
            "state": PLANNED,
            "from_position": plan.first,
            "to_position": plan.end,
            "filter": matching.as_json(),
            "include_effects": False,
            "rate": rate,
            "reason": reason,
            "created_by": by,
            "created_at": now,
            "total": plan.total,
            "done": 0,
            "failed": 0,
        }
        with self._store.writing() as connection:
            key = connection.execute(insert(table).values(values)).inserted_primary_key
            number = cast("Sequence[int]", key)[0]
            audit.record(
                connection,
                self._tables,
                at=now,
                actor=by,
                action="replay start",
                target=f"replay {number} of {plan.subscription}",
                detail={"reason": reason, "total": plan.total},
            )
        return self.find(number)

    def list(self, *, limit: int, before: int | None = None) -> list[Replay]:
        """Return the newest replays, those with an id below ``before``."""
        table = self._tables.replay
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._store.reading() as connection:
            return [_make_replay(row) for row in connection.execute(query)]

    def find(self, number: int) -> Replay:
        """Return the replay with this id.

        Raises:
            UnknownName: There is none.
        """
        table = self._tables.replay
        with self._store.reading() as connection:
            row = connection.execute(select(table).where(table.c.id == number)).first()
        if row is None:
            raise UnknownName(f"there is no replay {number}: `router replay list` shows all")
        return _make_replay(row)

    def take_up(self, subscriptions: Sequence[str]) -> None:
        """Make the lanes of the replays that are planned for ``subscriptions``."""
        table = self._tables.replay
        planned = select(table).where(
            table.c.state == PLANNED, table.c.subscription.in_(subscriptions)
        )
        with self._store.reading() as connection:
            if connection.execute(planned).first() is None:
                return  # the usual case costs no write
        with self._store.writing() as connection:
            for row in connection.execute(planned).all():
                replay_lanes.make(connection, self._store, row, after=row.from_position - 1)
                started = {"state": RUNNING, "started_at": self._store.now()}
                connection.execute(update(table).where(table.c.id == row.id).values(**started))

    def tally(self, connection: Connection, number: int, *, done: int, failed: int) -> None:
        """Add to the counts of a replay."""
        table = self._tables.replay
        connection.execute(
            update(table)
            .where(table.c.id == number)
            .values(done=table.c.done + done, failed=table.c.failed + failed)
        )

    def finish(self, connection: Connection, lane: Lane) -> None:
        """Note that nothing of the run is left, if the ``lane`` just struck off was its last."""
        table, lanes = self._tables.replay, self._tables.lane
        left = select(func.count()).where(
            lanes.c.subscription == lane.subscription, lanes.c.run == lane.run
        )
        if connection.scalars(left).one() == 0:
            ended = {"state": DONE, "finished_at": self._store.now()}
            connection.execute(update(table).where(table.c.id == lane.run).values(**ended))

    def _find_policies(self, subscription: str) -> dict[str, ReplayPolicy]:
        table = self._tables.subscription
        with self._store.reading() as connection:
            rows = connection.execute(select(table.c.name, table.c.types)).all()
        known = {row.name: row.types for row in rows}
        if subscription not in known:
            raise UnknownName(
                f"there is no subscription {subscription!r} (known: {', '.join(known) or 'none'}): "
                "it comes into being when `router serve` or `router worker` first loads its plugin"
            )
        found: dict[str, ReplayPolicy] = json.loads(known[subscription])
        return found


def _decide(policy: ReplayPolicy, include_effects: bool) -> ReplayPolicy:  # noqa: FBT001
    return "allow" if policy == "skip" and include_effects else policy


def _make_replay(row: Row[*tuple[Any, ...]]) -> Replay:
    return Replay(
        id=row.id,
        subscription=row.subscription,
        state=row.state,
        first=row.from_position,
        end=row.to_position,
        total=row.total,
        done=row.done,
        failed=row.failed,
        rate=row.rate,
        reason=row.reason,
        matching=Filter.from_json(row.filter),
    )
