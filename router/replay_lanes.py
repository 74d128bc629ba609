"""The lanes of a replay: made when it begins, and once more for what failed in it."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from router.claims import LIVE
from router.errors import RouterError
from router.store import Store

PLANNED, RUNNING, DONE = "planned", "running", "done"  # states of a replay
OVER = ("cancelled", "failed")  # states in which nobody takes it up again


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
