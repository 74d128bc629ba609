"""What is on record of one replay."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, select

from router.events import from_micros
from router.filters import Filter
from router.parking import RETRY
from router.replay_states import FINISHED, PAUSED
from router.schema import Tables


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
        by_type: What came of how many, by type and outcome: ``done``, ``failed``, ``skipped``.
        retrying: How many wait for another attempt.
        blocked: How many subjects wait behind one of these.
        concurrency: Calls at a time; None for the subscription's own limit.
        include_effects: Whether handlers are called, too, that replays skip otherwise.
        last_error: Why it must not be carried out, or does not come to its end.
        rebuilds: Of a rebuild, the tables that are filled anew; none when that is over.
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
    matching: Filter
    by_type: Mapping[str, Mapping[str, int]]
    retrying: int
    blocked: int
    concurrency: int | None
    include_effects: bool
    reason: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    last_error: str | None
    rebuilds: tuple[str, ...] | None = None

    @property
    def is_rebuild(self) -> bool:
        """Whether it fills tables anew, and ends when they have taken the place of the old."""
        return self.rebuilds is not None

    @property
    def is_finished(self) -> bool:
        """Whether it has come to an end, of whatever kind."""
        return self.state in FINISHED

    @property
    def is_at_rest(self) -> bool:
        """Whether it has ended, or was paused for a reason of its own: see ``last_error``."""
        return self.is_finished or (self.state == PAUSED and self.last_error is not None)

    def as_dict(self) -> dict[str, object]:
        """The replay as lists show it."""
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

    def as_details(self) -> dict[str, object]:
        """The replay with all that is known of it."""
        names = ("by_type", "retrying", "blocked", "concurrency", "include_effects", "reason")
        times = ("created_by", "created_at", "started_at", "finished_at", "last_error")
        more = {name: getattr(self, name) for name in (*names, *times, "is_rebuild")}
        return self.as_dict() | more | {"filter": msgspec.to_builtins(self.matching)}


def select_replays(tables: Tables) -> Select[*tuple[Any, ...]]:
    """Return the query whose rows `make_replay` reads."""
    table, parked, blocked = tables.replay, tables.parked, tables.blocked
    retrying, waiting = (
        select(func.count())
        .where(one.c.subscription == table.c.subscription, one.c.run == table.c.id, *more)
        .scalar_subquery()
        for one, more in ((parked, [parked.c.state == RETRY]), (blocked, []))
    )
    return select(table, retrying.label("retrying"), waiting.label("blocked"))


def make_replay(row: Row[*tuple[Any, ...]]) -> Replay:
    """Return the replay that a row tells of."""
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
        matching=Filter.from_json(row.filter),
        by_type=json.loads(row.counts),
        retrying=row.retrying,
        blocked=row.blocked,
        concurrency=row.concurrency,
        include_effects=row.include_effects,
        reason=row.reason,
        created_by=row.created_by,
        created_at=from_micros(row.created_at),
        started_at=None if row.started_at is None else from_micros(row.started_at),
        finished_at=None if row.finished_at is None else from_micros(row.finished_at),
        last_error=row.last_error,
        rebuilds=None if row.rebuilds is None else tuple(json.loads(row.rebuilds)),
    )
