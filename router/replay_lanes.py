"""The lanes of a replay: made when it begins, once more for what failed in it, and cleared away."""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from router.claims import LIVE
from router.errors import RouterError
from router.parking import RETRY
from router.replay_states import DONE, OVER, RUNNING
from router.schema import Tables
from router.store import Store


def lock(connection: Connection, tables: Tables, number: int) -> None:
    """Keep others from changing the state of a replay, or making it of what they see of its lanes.

    Whoever does so locks it before anything that was asked of the replay, and behind lanes.
    """
    replay = tables.replay
    this = select(replay.c.id).where(replay.c.id == number)
    connection.execute(this.with_for_update())


def make(
    connection: Connection,
    store: Store,
    row: Row[*tuple[Any, ...]],
    *,
    after: int,
    epoch: int = 0,
) -> int:
    """Make the lanes that the replay in ``row`` lacks, of the same shards as the live ones.

    Args:
        connection: Of a transaction that writes.
        store: The database.
        row: Of the table replay.
        after: Their checkpoint.
        epoch: Higher than that of any lane that was there before.

    Returns:
        How many were made.
    """
    lane = store.tables.lane
    query = select(lane).where(lane.c.subscription == row.subscription)
    there = connection.execute(query.where(lane.c.run == row.id)).all()
    firsts = {one.first_shard for one in there}
    live = connection.execute(query.where(lane.c.run == LIVE)).all()
    missing = [
        {
            "subscription": row.subscription,
            "run": row.id,
            "first_shard": one.first_shard,
            "last_shard": one.last_shard,
            "checkpoint": after,
            "done": "[]",
            "epoch": epoch,
            "takeovers": 0,
        }
        for one in live
        if one.first_shard not in firsts
    ]
    if missing:
        connection.execute(insert(lane), missing)
    return len(missing)


def reopen(connection: Connection, store: Store, number: int) -> None:
    """Give a replay the lanes again that have come to its end: for what failed in them.

    Raises:
        RouterError: It was ended before its time, and takes up nothing any more.
    """
    table = store.tables.replay
    lock(connection, store.tables, number)
    row = connection.execute(select(table).where(table.c.id == number)).first()
    if row is None:
        return
    if row.state in OVER:
        raise RouterError(f"replay {number} is {row.state}: start another one for what it left")
    # No epoch was ever that high: an owner of a lane that was struck off stays shut out.
    made = make(connection, store, row, after=row.to_position - 1, epoch=store.now())
    if made and row.state == DONE:
        again = {"state": RUNNING, "finished_at": None}
        connection.execute(update(table).where(table.c.id == number).values(**again))


def clear(connection: Connection, store: Store, number: int) -> None:
    """Strike off the lanes that nobody owns of a replay that was ended before its time.

    With the last one goes what was still to be done: retries, blocked subjects, what operators
    asked for. Its dead letters stay: they have come to their end.
    """
    tables = store.tables
    lane, parked = tables.lane, tables.parked
    lock(connection, tables, number)
    is_free = or_(lane.c.owner.is_(None), lane.c.expires_at < store.now())
    free = select(lane.c.first_shard).where(lane.c.run == number, is_free)
    # One that is locked is being written by its owner, however long ago that renewed its lease.
    firsts = connection.scalars(free.with_for_update(skip_locked=True)).all()
    connection.execute(delete(lane).where(lane.c.run == number, lane.c.first_shard.in_(firsts)))
    if connection.scalars(select(lane.c.run).where(lane.c.run == number).limit(1)).first():
        return  # its owner lets go of it in a moment
    waiting = select(parked.c.position).where(parked.c.run == number, parked.c.state == RETRY)
    attempt = tables.attempt.c
    connection.execute(
        delete(tables.attempt).where(attempt.run == number, attempt.position.in_(waiting))
    )
    connection.execute(delete(parked).where(parked.c.run == number, parked.c.state == RETRY))
    connection.execute(update(parked).where(parked.c.run == number).values(intent=None))
    for table in (tables.blocked, tables.intent):
        connection.execute(delete(table).where(table.c.run == number))
