"""Who owns what: looks at the record for tests of lanes and workers."""

from sqlalchemy import select, update

from router.claims import LIVE
from router.lane import Lane
from router.lanes import Lanes
from router.roster import Roster
from router.store import Store


def make_worker(store: Store) -> Roster:
    """Return another worker that has enrolled."""
    roster = Roster(store, pid=1)
    roster.enrol(["crm", "audit"])
    return roster


def make_owner(store: Store) -> Lanes:
    """Return the lanes as another worker that has enrolled sees them."""
    return Lanes(store, worker=make_worker(store).worker)


def lanes_of(store: Store, run: int = LIVE) -> list[tuple[int, int, int, str]]:
    """Return first and last shard, checkpoint and done of all lanes of a run."""
    lane = store.tables.lane.c
    query = select(lane.first_shard, lane.last_shard, lane.checkpoint, lane.done)
    with store.reading() as connection:
        rows = connection.execute(query.where(lane.run == run).order_by(lane.first_shard))
        return [tuple(row) for row in rows]


def subscription_of(store: Store, name: str) -> dict[str, object]:
    """Return what is on record of a subscription."""
    table = store.tables.subscription
    with store.reading() as connection:
        return dict(connection.execute(select(table).where(table.c.name == name)).mappings().one())


def workers_of(store: Store) -> set[str]:
    """Return the ids of the workers on record."""
    with store.reading() as connection:
        return set(connection.scalars(select(store.tables.worker.c.id)))


def owner_of(store: Store, lane: Lane) -> tuple[str | None, int, int]:
    """Return a lane's owner, epoch and takeovers as they are on record."""
    table = store.tables.lane.c
    query = select(table.owner, table.epoch, table.takeovers).where(
        table.subscription == lane.subscription,
        table.run == lane.run,
        table.first_shard == lane.first_shard,
    )
    with store.reading() as connection:
        owner, epoch, takeovers = connection.execute(query).one()
    return owner, epoch, takeovers


def set_state(store: Store, name: str, state: str) -> None:
    """Change a subscription's state as a command would."""
    table = store.tables.subscription
    with store.writing() as connection:
        connection.execute(update(table).where(table.c.name == name).values(state=state))
