"""Who is at work: the living workers, and the lanes that one of them runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from router.claims import LIVE
from router.doctor.findings import Case
from router.lane import LEASE_MICROS

AnyRow = Row[*tuple[Any, ...]]

RUNNABLE = ("active", "failing")  # the states of a subscription that workers run


def find_alive(connection: Connection, case: Case) -> list[AnyRow]:
    """Return the workers that were seen within the time of a lease."""
    worker = case.tables.worker
    oldest = case.store.now() - LEASE_MICROS
    return list(connection.execute(select(worker).where(worker.c.seen_at >= oldest)))


def find_owned(connection: Connection, case: Case) -> list[AnyRow]:
    """Return the lanes that a living worker runs, each with when that ``started_at``."""
    lane, worker = case.tables.lane, case.tables.worker
    now = case.store.now()
    query = (
        select(lane, worker.c.started_at)
        .join(worker, worker.c.id == lane.c.owner)
        .where(worker.c.seen_at >= now - LEASE_MICROS, lane.c.expires_at >= now)
    )
    return list(connection.execute(query))


def find_owner(
    owned: Sequence[AnyRow], subscription: str, run: int, *, shard: int
) -> AnyRow | None:
    """Return which of the ``owned`` lanes a shard belongs to."""
    for lane in owned:
        is_of_run = (lane.subscription, lane.run) == (subscription, run)
        if is_of_run and lane.first_shard <= shard <= lane.last_shard:
            return lane
    return None


def name_run(subscription: str, run: int) -> str:
    """Return what a run of a subscription is called."""
    return subscription if run == LIVE else f"replay {run} of {subscription}"
