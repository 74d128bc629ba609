"""Checks of the log itself: its positions, notifications, shards and the dedupe memory."""

import json
from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy import Connection, exists, func, select

from router.doctor.findings import Case, Finding, in_words, judge
from router.events import shard_of
from router.schema import Tables

PAGE = 1_000  # events read in one transaction

RESTORE = "restore the database from a backup made before the damage; nobody but the router writes"


class Pruned(msgspec.Struct, frozen=True):
    """What `router db prune` has left no promise of.

    Attributes:
        last: No position up to here need be there; all above it must.
        total: How many events went, at most.
    """

    last: int
    total: int


def examine_positions(case: Case) -> Finding:
    """Positions have no gap above what was pruned, and end at the head.

    One count along the smallest index, with the head in the same short transaction: about 50 ms
    for a million events in the cache. Only if something is missing are positions read, in pages.
    """
    tables = case.tables
    place = tables.event.c.position
    with case.store.reading() as connection:
        head = _find_head(connection, tables)
        pruned = _find_pruned(connection, tables)
        count = connection.scalars(select(func.count()).select_from(tables.event)).one()
        below = connection.scalars(select(func.count()).where(place <= pruned.last)).one()
        newest = connection.scalars(select(func.max(place))).one() or 0
    problems = []
    if newest > head:
        problems.append(f"the newest event is at {newest:,}, above the head, {head:,}")
    elif missing := head - pruned.last - (count - below):
        hole = _find_hole(case, after=pruned.last, until=head)
        problems.append(
            f"{in_words(missing, 'event')} between {pruned.last + 1:,} and the head, {head:,}, "
            f"missing, the first at {hole:,}"
        )
    if (lost := pruned.last - below - pruned.total) > 0:
        problems.append(
            f"{in_words(lost, 'event')} up to {pruned.last:,} gone that `db prune` did not delete"
        )
    sound = (
        f"{in_words(count, 'event')} up to {head:,} without a gap" if head else "the log is empty"
    )
    if pruned.last:
        sound += f" above {pruned.last:,}, the last one that was pruned"
    return judge("positions", problems, sound=sound, advice=RESTORE)


def examine_notifications(case: Case) -> Finding:
    """Every event has its notification, and every notification its first event.

    The oldest and the newest thousand positions; with ``--deep`` all, at about 1 s a million.
    """
    event, notification, head = case.tables.event, case.tables.notification, case.tables.head
    bodiless = (
        select(event.c.position)
        .join(notification, notification.c.id == event.c.notification_id, isouter=True)
        .where(notification.c.id.is_(None))
    )
    eventless = (
        select(notification.c.id)
        .join(event, event.c.position == notification.c.id, isouter=True)
        .where(event.c.position.is_(None))
    )
    beyond = select(notification.c.id).where(
        notification.c.id > select(head.c.position).scalar_subquery()
    )
    lost: list[int] = []
    empty: list[int] = []
    looked = 0
    for connection, after, until in _read_in_pages(case):
        looked += until - after
        kept = max(after, _find_pruned(connection, case.tables).last)
        lost += connection.scalars(bodiless.where(event.c.position.between(after + 1, until)))
        empty += connection.scalars(eventless.where(notification.c.id.between(kept + 1, until)))
    with case.store.reading() as connection:
        empty += connection.scalars(beyond.limit(PAGE))
    problems = []
    if lost:
        problems.append(f"{in_words(len(lost), 'event')} without notification{_first(lost)}")
    if empty:
        problems.append(f"{in_words(len(empty), 'notification')} without event{_first(empty)}")
    sound = f"each of {in_words(looked, 'position')} looked at has its notification"
    return judge("notifications", problems, sound=sound, advice=RESTORE)


def examine_shards(case: Case) -> Finding:
    """The shard of every event follows from its subject.

    The oldest and the newest thousand; with ``--deep`` all, at about 3 s a million.
    """
    event = case.tables.event.c
    query = select(event.position, event.subject, event.shard)
    wrong: list[int] = []
    looked = 0
    for connection, after, until in _read_in_pages(case):
        looked += until - after
        rows = connection.execute(query.where(event.position.between(after + 1, until)))
        wrong += (row.position for row in rows if row.shard != shard_of(row.subject))
    problems = [f"{in_words(len(wrong), 'event')} in a wrong shard{_first(wrong)}"] if wrong else []
    sound = f"each of {in_words(looked, 'position')} looked at is in its subject's shard"
    return judge("shards", problems, sound=sound, advice=RESTORE)


def examine_dedupe(case: Case) -> Finding:
    """The newest thousand events would be known again, if they came since the memory was turned.

    Older keys may be forgotten by now. A thousand look-ups by key in each half of the memory.
    """
    tables = case.tables
    event, notification, head = tables.event.c, tables.notification.c, tables.head.c
    known = [exists().where(half.c.key == event.key) for half in tables.dedupe]
    query = (
        select(event.position)
        .join(tables.notification, notification.id == event.notification_id)
        .where(
            event.position > select(head.position - PAGE).scalar_subquery(),
            notification.received_at >= select(head.rotated_at).scalar_subquery(),
            event.reparsed.is_(False),
            *(~one for one in known),
        )
        .order_by(event.position)
    )
    with case.store.reading() as connection:
        forgotten = connection.scalars(query).all()
    problems = []
    if forgotten:
        problems.append(f"{in_words(len(forgotten), 'event')} forgotten{_first(forgotten)}")
    return judge(
        "dedupe",
        problems,
        sound="the newest events would be known again",
        advice="if their provider sends them again they are stored twice: " + RESTORE,
    )


def _find_head(connection: Connection, tables: Tables) -> int:
    position: int = connection.scalars(select(tables.head.c.position)).one()
    return position


def _find_pruned(connection: Connection, tables: Tables) -> Pruned:
    """Return what is on record of `router db prune`: written down before anything is deleted."""
    audit = tables.audit.c
    details = [
        json.loads(detail)
        for detail in connection.scalars(select(audit.detail).where(audit.action == "db prune"))
    ]
    return Pruned(
        # The position that was needed is all that older records tell.
        last=max((one.get("last", one["floor"] - 1) for one in details), default=0),
        total=sum(one["total"] for one in details),
    )


def _find_hole(case: Case, *, after: int, until: int) -> int:
    """Return the first position above ``after`` at which there is no event."""
    place = case.tables.event.c.position
    expected = after + 1
    while expected <= until:
        query = select(place).where(place >= expected).order_by(place).limit(PAGE)
        with case.store.reading() as connection:
            found = connection.scalars(query).all()
        for position in found:
            if position != expected:
                return expected
            expected += 1
        if not found:
            break
    return expected


def _read_in_pages(case: Case) -> Iterator[tuple[Connection, int, int]]:
    """Yield ranges of positions, each with a transaction: it ends before the next one begins."""
    place = case.tables.event.c.position
    with case.store.reading() as connection:
        lowest = (connection.scalars(select(func.min(place))).one() or 1) - 1
        head = _find_head(connection, case.tables)
    starts: Sequence[int] = range(lowest, head, PAGE)
    if not case.is_deep and len(starts) > 2:
        starts = [lowest, head - PAGE]
    for after in starts:
        with case.store.reading() as connection:
            yield connection, after, min(after + PAGE, head)


def _first(positions: Sequence[int]) -> str:
    return f", the first at {positions[0]:,}" if positions else ""
