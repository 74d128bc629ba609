"""What a subscription still has to do, counted exactly before a command does away with it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import Connection, func, select
from sqlalchemy.sql.elements import ColumnElement

from router.claims import LIVE
from router.parking import DEAD, RETRY
from router.replay_states import FINISHED
from router.schema import Tables
from router.tiling import Tile, read_tilings


class Skipping(msgspec.Struct, frozen=True):
    """What a skip passes over.

    Attributes:
        checkpoint: The lowest of its lanes.
        position: The last one that is skipped.
        by_type: How many events will not be handed over, by type.
        retries: How many deliveries that failed will not be tried again.
        is_pending: Whether a worker still has to carry it out, which it does in a moment.
    """

    subscription: str
    checkpoint: int
    position: int
    by_type: Mapping[str, int]
    retries: int
    is_pending: bool = False

    @property
    def total(self) -> int:
        """How many events will not be handed over."""
        return sum(self.by_type.values())

    @property
    def is_empty(self) -> bool:
        """Whether all of it is behind the subscription already."""
        return self.position <= self.checkpoint and not self.total and not self.retries


class Forgetting(msgspec.Struct, frozen=True):
    """What is deleted with a subscription.

    Attributes:
        lag: How many positions its checkpoint is behind the head.
        by_type: How many of its deliveries wait for a retry or are dead, by type of the event;
            those of replays, too.
        retries: How many of these wait for a retry.
        dead: How many of these were given up.
        replays: How many replays are cancelled.
    """

    subscription: str
    lag: int
    by_type: Mapping[str, int]
    retries: int
    dead: int
    replays: int

    @property
    def total(self) -> int:
        """How many of its deliveries wait for a retry or are dead."""
        return sum(self.by_type.values())


def count_skipping(
    connection: Connection, tables: Tables, subscription: str, *, position: int
) -> Skipping:
    """Count what the subscription has not settled up to ``position``.

    An event counts if its plugin handles the type, it is live, and it was never handed over: it is
    behind no checkpoint, or waits behind its subject.
    """
    parked, table = tables.parked.c, tables.subscription.c
    retries = select(func.count()).where(
        parked.subscription == subscription,
        parked.run == LIVE,
        parked.state == RETRY,
        parked.position <= position,
    )
    known = connection.scalars(select(table.types).where(table.name == subscription)).one()
    event = tables.event.c
    types = list(json.loads(known))
    wanted = [event.position <= position, event.type.in_(types), event.quiet.is_(False)]
    tiles = read_tilings(connection, tables, subscription).get(LIVE, [])
    counts = Counter(_blocked(connection, tables, subscription, tiles, wanted))
    for tile in tiles:
        counts.update(_ahead(connection, tables, tile, wanted))
    return Skipping(
        subscription=subscription,
        checkpoint=min((tile.checkpoint for tile in tiles), default=position),
        position=position,
        by_type=dict(sorted(counts.items())),
        retries=connection.scalars(retries).one(),
    )


def count_forgetting(connection: Connection, tables: Tables, subscription: str) -> Forgetting:
    """Count what would be deleted with the subscription."""
    parked, replay = tables.parked.c, tables.replay.c
    query = (
        select(parked.state, parked.type, func.count())
        .where(parked.subscription == subscription)
        .group_by(parked.state, parked.type)
    )
    states: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for state, type_, count in connection.execute(query):
        states[state] += count
        types[type_] += count
    unfinished = select(func.count()).where(
        replay.subscription == subscription, replay.state.not_in(FINISHED)
    )
    tiles = read_tilings(connection, tables, subscription).get(LIVE, [])
    head = connection.scalars(select(tables.head.c.position)).one()
    return Forgetting(
        subscription=subscription,
        lag=head - min((tile.checkpoint for tile in tiles), default=head),
        by_type=dict(sorted(types.items())),
        retries=states[RETRY],
        dead=states[DEAD],
        replays=connection.scalars(unfinished).one(),
    )


def _ahead(
    connection: Connection, tables: Tables, tile: Tile, wanted: Iterable[ColumnElement[bool]]
) -> Counter[str]:
    """Count by type what is ``wanted`` of the tile's shards, above what it has settled."""
    event = tables.event.c
    mine = [*wanted, event.shard.between(tile.first, tile.last)]
    rest = select(event.type, func.count()).where(*mine, event.position > tile.end)
    counts = Counter({row[0]: row[1] for row in connection.execute(rest.group_by(event.type))})
    if tile.done:
        between = select(event.type, event.position).where(
            *mine, event.position > tile.checkpoint, event.position <= tile.end
        )
        for type_, position in connection.execute(between):
            counts[type_] += not tile.has_settled(position)
    return +counts


def _blocked(
    connection: Connection,
    tables: Tables,
    subscription: str,
    tiles: Iterable[Tile],
    wanted: Iterable[ColumnElement[bool]],
) -> Iterable[str]:
    """Yield the type of each event that its lane has settled, and that waits behind its subject."""
    event, blocked = tables.event.c, tables.blocked.c
    query = select(event.type, event.position).where(
        blocked.subscription == subscription,
        blocked.run == LIVE,
        event.subject == blocked.subject,
        event.position > blocked.position,
        *wanted,
    )
    for tile in tiles:
        mine = query.where(blocked.shard.between(tile.first, tile.last), event.position <= tile.end)
        for type_, position in connection.execute(mine):
            if tile.has_settled(position):
                yield type_
