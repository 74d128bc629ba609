"""Fair shares: how many lanes of each subscription one of several workers is to own."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from router.claims import LIVE
from router.lane import LEASE_MICROS, Place
from router.schema import Tables


def count_left(
    connection: Connection, tables: Tables, subscriptions: Sequence[str], worker: str, *, now: int
) -> Counter[str]:
    """Return how many live lanes the ``worker`` may claim; below zero, how many it has too many.

    Those who have the plugin divide its lanes among themselves, rounded up: every lane finds an
    owner, although nobody waits for another one's decision.

    Args:
        connection: Sees who works.
        tables: Those of the log.
        subscriptions: Their names.
        worker: Its id; it counts as alive.
        now: In microseconds since 1970.
    """
    table, lane = tables.worker.c, tables.lane.c
    is_other = table.id != worker
    alive = select(table.subscriptions).where(is_other, table.seen_at >= now - LEASE_MICROS)
    workers = Counter(subscriptions)
    for offer in connection.scalars(alive):
        workers.update(json.loads(offer))
    count = select(lane.subscription, func.count()).where(lane.run == LIVE)
    count = count.group_by(lane.subscription)
    lanes = connection.execute(count.where(lane.subscription.in_(subscriptions)))
    left = Counter({name: -(-number // workers[name]) for name, number in lanes})
    owned = connection.execute(count.where(lane.owner == worker, lane.expires_at >= now))
    left.subtract({row[0]: row[1] for row in owned})
    return left


def find_surplus(
    connection: Connection, tables: Tables, left: Mapping[str, int], worker: str
) -> set[Place]:
    """Return the live lanes that the ``worker`` has too many, as `count_left` has it."""
    if all(count >= 0 for count in left.values()):
        return set()
    lane = tables.lane.c
    mine = select(lane.subscription, lane.first_shard).where(lane.owner == worker, lane.run == LIVE)
    owned: defaultdict[str, list[Place]] = defaultdict(list)
    for name, first_shard in connection.execute(mine.order_by(lane.first_shard)):
        owned[name].append((name, first_shard))
    return {place for name, count in left.items() if count < 0 for place in owned[name][count:]}
