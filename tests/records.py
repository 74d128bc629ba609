"""What the database says of subscriptions, read without the code that wrote it."""

from typing import NamedTuple

from sqlalchemy import func, select

from router.store import Store


class ParkedRow(NamedTuple):
    """A parked delivery: its state, the calls so far, and when the next is due."""

    state: str
    attempts: int
    next_at: int | None


class LaneRow(NamedTuple):
    """A lane: its checkpoint, what is settled above it, its owner and epoch."""

    checkpoint: int
    done: str
    owner: str | None
    epoch: int


def read_parked(store: Store, name: str = "crm", *, run: int = 0) -> dict[int, ParkedRow]:
    """Return the parked deliveries of a subscription by position."""
    table = store.tables.parked.c
    query = select(table.position, table.state, table.attempts, table.next_at)
    query = query.where(table.subscription == name, table.run == run)
    with store.reading() as connection:
        return {row[0]: ParkedRow(*row[1:]) for row in connection.execute(query)}


def read_blocked(store: Store, name: str = "crm", *, run: int = 0) -> dict[str, int]:
    """Return the blocked subjects of a subscription, and where they are blocked."""
    table = store.tables.blocked.c
    query = select(table.subject, table.position)
    query = query.where(table.subscription == name, table.run == run)
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def read_lanes(store: Store, name: str = "crm", *, run: int = 0) -> list[LaneRow]:
    """Return the lanes of a run of a subscription in the order of their shards."""
    table = store.tables.lane.c
    query = select(table.checkpoint, table.done, table.owner, table.epoch)
    query = query.where(table.subscription == name, table.run == run)
    with store.reading() as connection:
        return [LaneRow(*row) for row in connection.execute(query.order_by(table.first_shard))]


def read_checkpoint(store: Store, name: str = "crm", *, run: int = 0) -> int:
    """Return the lowest checkpoint of a run of a subscription."""
    return min(lane.checkpoint for lane in read_lanes(store, name, run=run))


def count_attempts(store: Store, position: int, name: str = "crm", *, run: int = 0) -> int:
    """Return how many attempts at the event at ``position`` are on record."""
    table = store.tables.attempt.c
    query = select(func.count()).where(
        table.subscription == name, table.run == run, table.position == position
    )
    with store.reading() as connection:
        return connection.scalars(query).one()


def read_outcomes(store: Store, position: int, name: str = "crm") -> list[str]:
    """Return how the attempts at the event at ``position`` ended that are on record."""
    table = store.tables.attempt.c
    query = select(table.outcome).where(table.subscription == name, table.position == position)
    with store.reading() as connection:
        return list(connection.scalars(query.order_by(table.number)))


def read_takeovers(store: Store, name: str = "crm") -> list[int]:
    """Return how often the owners of each live lane fell silent, as far as that counts."""
    table = store.tables.lane.c
    query = select(table.takeovers).where(table.subscription == name, table.run == 0)
    with store.reading() as connection:
        return list(connection.scalars(query.order_by(table.first_shard)))


def read_state(store: Store, name: str = "crm") -> str:
    """Return a subscription's state."""
    table = store.tables.subscription.c
    with store.reading() as connection:
        return str(connection.scalars(select(table.state).where(table.name == name)).one())
