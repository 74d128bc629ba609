"""What came of the deliveries of a replay, by type and outcome; kept with it as JSON."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, select, update

from router.schema import Tables

Outcome = Literal["done", "failed"]  # of a delivery: handled, or given up
Count = tuple[str, Outcome]  # the type of an event, and what came of its delivery


def add_counts(
    connection: Connection, counts: Mapping[Count, int], *, tables: Tables, number: int
) -> None:
    """Add to the counts of a replay, within a transaction of a lane's owner.

    Args:
        connection: Of that transaction.
        counts: How many more; fewer, where what had failed is tried again.
        tables: Those of the log.
        number: The replay's id.
    """
    table = tables.replay
    this = table.c.id == number
    text = connection.scalars(select(table.c.counts).where(this).with_for_update()).first()
    by_type: dict[str, dict[str, int]] = json.loads(text or "{}")
    totals: Counter[Outcome] = Counter()
    for (type_, outcome), count in counts.items():
        found = by_type.setdefault(type_, {})
        found[outcome] = found.get(outcome, 0) + count
        totals[outcome] += count
    connection.execute(
        update(table)
        .where(this)
        .values(
            counts=json.dumps(by_type),
            done=table.c.done + totals["done"],
            failed=table.c.failed + totals["failed"],
        )
    )
