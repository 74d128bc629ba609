"""The lanes that nobody owns: taken out of a former owner's reach, and moved on, by a command."""

from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from router.events import SHARDS
from router.lane import Lane
from router.progress import dump_ranges, load_ranges
from router.schema import Tables
from router.store import Store


def take(connection: Connection, store: Store, subscription: str, run: int) -> list[Lane]:
    """Return the lanes of a run whose owner is gone or silent, with their epochs raised.

    Whatever such an owner still writes changes nothing then, and the next one finds the record as
    the transaction leaves it. Shards without a lane, those a replay has done with, come as a lane
    of epoch 0 that is not on record: somebody may still want to change what it left behind.
    """
    table = store.tables.lane
    of_run = [table.c.subscription == subscription, table.c.run == run]
    query = select(table).where(*of_run).order_by(table.c.first_shard)
    rows = connection.execute(query).all()
    is_free = or_(table.c.owner.is_(None), table.c.expires_at < store.now())
    # One that is locked is being written by its owner, however long ago that renewed its lease.
    free = connection.execute(query.where(is_free).with_for_update(skip_locked=True)).all()
    taken = []
    for row in free:
        this = [*of_run, table.c.first_shard == row.first_shard]
        fence = {
            "owner": None,
            "expires_at": None,
            "epoch": row.epoch + 1,
            "takeovers": row.takeovers + (row.owner is not None),  # as the next owner would count
        }
        connection.execute(update(table).where(*this).values(**fence))
        taken.append(_make_lane(row))
    gaps = _find_gaps([(row.first_shard, row.last_shard) for row in rows])
    return taken + [Lane(subscription, run, first, last, 0, 0, []) for first, last in gaps]


def pass_over(connection: Connection, tables: Tables, lane: Lane, *, position: int) -> None:
    """Let a ``lane`` that was taken go on behind ``position``, if it has not come so far."""
    table = tables.lane
    behind = update(table).where(
        table.c.subscription == lane.subscription,
        table.c.run == lane.run,
        table.c.first_shard == lane.first_shard,
        table.c.checkpoint < position,
    )
    done = [(max(first, position + 1), last) for first, last in lane.done if last > position]
    connection.execute(behind.values(checkpoint=position, done=dump_ranges(done), takeovers=0))


def _make_lane(row: Row[*tuple[Any, ...]]) -> Lane:
    return Lane(
        subscription=row.subscription,
        run=row.run,
        first_shard=row.first_shard,
        last_shard=row.last_shard,
        epoch=row.epoch + 1,
        checkpoint=row.checkpoint,
        done=load_ranges(row.done),
    )


def _find_gaps(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges of shards between those ``ranges``, which ascend."""
    gaps, following = [], 0
    for first, last in [*ranges, (SHARDS, SHARDS)]:
        if first > following:
            gaps.append((following, first - 1))
        following = last + 1
    return gaps
