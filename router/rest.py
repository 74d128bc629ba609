"""Whether a subscription is at rest: nobody runs any of its lanes, live or of a replay."""

import msgspec
from sqlalchemy import Connection, Row, case, select, update

from router.claims import PAUSED
from router.errors import RouterError
from router.schema import Tables


class Owner(msgspec.Struct, frozen=True):
    """A worker that runs a lane.

    Attributes:
        host: The name of its machine; empty where it is not on record.
        pid: Of its process.
    """

    host: str
    pid: int

    def __str__(self) -> str:
        return f"the worker on {self.host} (pid {self.pid})" if self.host else "a worker"


def find_owner(
    connection: Connection, tables: Tables, subscription: str, *, now: int
) -> Owner | None:
    """Return one whose lease on a lane of the subscription has not expired, if there is any."""
    lane, worker = tables.lane.c, tables.worker.c
    query = (
        select(worker.host, worker.pid)
        .select_from(tables.lane.outerjoin(tables.worker, worker.id == lane.owner))
        .where(lane.subscription == subscription, lane.owner.is_not(None), lane.expires_at >= now)
    )
    row: Row[str | None, int | None] | None = connection.execute(query.limit(1)).first()
    return None if row is None else Owner(row[0] or "", row[1] or 0)


def require_rest(
    connection: Connection,
    tables: Tables,
    subscription: str,
    *,
    state: str,
    now: int,
    locking: bool = False,
) -> None:
    """Refuse a subscription that a worker runs.

    Args:
        connection: Of the transaction that changes what needs rest.
        tables: Those of the log.
        subscription: Its name.
        state: Of the subscription.
        now: In microseconds since 1970.
        locking: Whether nobody may claim a lane before the transaction ends.

    Raises:
        RouterError: Says which worker, and what to do.
    """
    owner = find_owner(connection, tables, subscription, now=now)
    if owner is None and locking:  # now nobody can claim one any more: did somebody before?
        lane = tables.lane.c
        mine = select(lane.first_shard).where(lane.subscription == subscription)
        connection.execute(mine.with_for_update())
        owner = find_owner(connection, tables, subscription, now=now)
    if owner is None:
        return
    if state == PAUSED:
        raise RouterError(f"{subscription!r} is still let go by {owner}: try again in a moment")
    raise RouterError(
        f"{subscription!r} is being delivered by {owner}: pause it first: "
        f"router subscriptions pause {subscription}"
    )


def fence(connection: Connection, tables: Tables, subscription: str) -> None:
    """Raise the epochs of all lanes, so that what former owners still write changes nothing."""
    lane = tables.lane
    is_left = lane.c.owner.is_not(None)  # by one that fell silent, as the next owner would count
    mine = update(lane).where(lane.c.subscription == subscription)
    connection.execute(
        mine.values(
            owner=None,
            expires_at=None,
            epoch=lane.c.epoch + 1,
            takeovers=case((is_left, lane.c.takeovers + 1), else_=lane.c.takeovers),
        )
    )
