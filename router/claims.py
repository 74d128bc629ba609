"""Claims: which lanes a worker may take, and what is known of those who had them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, or_, select
from sqlalchemy.sql.elements import ColumnElement

from router.replay_states import RUNNING
from router.schema import Tables

LIVE = 0  # the run of live delivery; a replay's run is its id
ACTIVE, FAILING, PAUSED, MISSING = "active", "failing", "paused", "missing"  # subscriptions
RUNNABLE = (ACTIVE, FAILING)  # those whose lanes may be claimed

Rows = list[Row[*tuple[Any, ...]]]


def find_free(
    connection: Connection,
    tables: Tables,
    subscriptions: Sequence[str],
    worker: str,
    *,
    now: int,
    locking: bool = False,
) -> Rows:
    """Return the lanes of ``subscriptions`` that nobody owns, or only in name, at ``now``.

    A replay's lane is for the owner of the live lane of the same shards alone, while it runs.
    """
    lane = tables.lane
    is_free = or_(lane.c.owner.is_(None), lane.c.expires_at < now)
    query = select(lane).where(
        is_free, lane.c.subscription.in_(subscriptions), _is_runnable(tables, worker)
    )
    query = query.order_by(lane.c.subscription, lane.c.run, lane.c.first_shard)
    if locking:  # one that is locked is being written by its owner, or claimed by another worker
        query = query.with_for_update(of=lane, skip_locked=True)
    return list(connection.execute(query))


def has_more_to_do(connection: Connection, tables: Tables, lane: Row[*tuple[Any, ...]]) -> bool:
    """Whether something of a lane is tried again or waits, wherever its checkpoint is."""
    parked, blocked = tables.parked.c, tables.blocked.c
    # In the order of an index each: for any one row PostgreSQL would walk along the table.
    for columns, more, order in (
        (parked, [parked.state == "retry"], parked.next_at),
        (blocked, [], blocked.subject),
    ):
        mine = [columns.subscription == lane.subscription, columns.run == lane.run, *more]
        within = columns.shard.between(lane.first_shard, lane.last_shard)
        query = select(columns.position).where(*mine, within).order_by(order).limit(1)
        if connection.scalars(query).first():
            return True
    return False


def _is_runnable(tables: Tables, worker: str) -> ColumnElement[bool]:
    lane, subscription, replay = tables.lane, tables.subscription, tables.replay
    live = lane.alias("live")
    owns_live = exists().where(
        live.c.subscription == lane.c.subscription,
        live.c.run == LIVE,
        live.c.first_shard == lane.c.first_shard,
        live.c.owner == worker,
    )
    is_active = exists().where(
        subscription.c.name == lane.c.subscription, subscription.c.state.in_(RUNNABLE)
    )
    is_running = exists().where(replay.c.id == lane.c.run, replay.c.state == RUNNING)
    return and_(is_active, or_(lane.c.run == LIVE, and_(owns_live, is_running)))
