"""Checks of the progress on record: lanes, what is settled, and rows that belong to nothing."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, select

from router.claims import LIVE
from router.doctor.findings import Case, Finding, in_words, judge
from router.doctor.owners import RUNNABLE, find_owned, find_owner, name_run
from router.events import SHARDS
from router.replay_states import RUNNING

AnyRow = Row[*tuple[Any, ...]]

PATIENCE = 60_000_000  # microseconds in which an owner carries out any intent: it looks each second

WRONG = (
    "stop the workers and restore the database from a backup; if you cannot, let it be delivered "
    "again: `router subscriptions forget NAME`, then start it from the beginning or replay"
)


def examine_checkpoints(case: Case) -> Finding:
    """No lane has settled more than the log holds, and what is settled above is well-formed."""
    with case.store.reading() as connection:
        head = connection.scalars(select(case.tables.head.c.position)).one()
        lanes = connection.execute(select(case.tables.lane)).all()
    problems = [problem for lane in lanes for problem in _find_faults(lane, head)]
    sound = f"{in_words(len(lanes), 'lane')} at or below the head, {head:,}"
    return judge("checkpoints", problems, sound=sound, advice=WRONG)


def examine_lanes(case: Case) -> Finding:
    """The lanes of each subscription tile the shards; those of a replay do not overlap.

    A replay's lanes are struck off one by one as they come to their end.
    """
    tables = case.tables
    runs: dict[tuple[str, int], list[AnyRow]] = defaultdict(list)
    with case.store.reading() as connection:
        for name in connection.scalars(select(tables.subscription.c.name)):
            runs[name, LIVE] = []
        running = select(tables.replay).where(tables.replay.c.state == RUNNING)
        for replay in connection.execute(running):
            runs[replay.subscription, replay.id] = []
        for lane in connection.execute(select(tables.lane).order_by(tables.lane.c.first_shard)):
            runs[lane.subscription, lane.run].append(lane)
    problems = [
        f"{name_run(*run)}: {fault}" for run, lanes in runs.items() for fault in _find_gaps(lanes)
    ]
    sound = f"those of {in_words(len(runs), 'run')} cover the shards 0 to {SHARDS - 1}"
    return judge("lanes", problems, sound=sound, advice=WRONG)


def examine_orphans(case: Case) -> Finding:
    """Whatever is on record of a delivery belongs to a subscription, a run and an event.

    One pass over the keys of parked, blocked, attempt, lane and intent, which hold what fails and
    not what succeeds.
    """
    tables = case.tables
    parked, attempt, event = tables.parked.c, tables.attempt.c, tables.event.c
    is_parked = exists().where(
        parked.subscription == attempt.subscription,
        parked.run == attempt.run,
        parked.position == attempt.position,
    )
    without_parked = select(func.count()).select_from(tables.attempt).where(~is_parked)
    is_event = exists().where(event.position == parked.position)
    without_event = select(func.count()).select_from(tables.parked).where(~is_event)
    with case.store.reading() as connection:
        problems = list(_find_strays(connection, case))
        if count := connection.scalars(without_parked).one():
            problems.append(f"{in_words(count, 'attempt')} of a delivery that is not parked")
        if count := connection.scalars(without_event).one():
            problems.append(f"{in_words(count, 'row')} in parked without an event")
    return judge(
        "orphans",
        problems,
        sound="every row belongs to a subscription, a run and an event",
        advice="nothing will see to those rows: make a backup, then delete them by hand",
    )


def examine_blocked(case: Case) -> Finding:
    """A subject waits behind a parked delivery, or the owner of its lane is about to let it go on.

    Where nobody owns the lane the next owner does so, for whoever was to do it has died.
    """
    tables = case.tables
    blocked, parked = tables.blocked.c, tables.parked.c
    behind = and_(
        parked.subscription == blocked.subscription,
        parked.run == blocked.run,
        parked.position == blocked.position,
        parked.subject == blocked.subject,
    )
    headless = (
        select(tables.blocked)
        .join(tables.parked, behind, isouter=True)
        .where(parked.position.is_(None))
    )
    with case.store.reading() as connection:
        count = connection.scalars(select(func.count()).select_from(tables.blocked)).one()
        rows = connection.execute(headless).all()
        runnable = _find_runnable(connection, case)
        owned = find_owned(connection, case)
    stuck: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows:
        run = row.subscription, row.run
        if run in runnable and find_owner(owned, *run, shard=row.shard) is None:
            stuck[run] += 1
    problems = [
        f"{in_words(number, 'subject')} of {name_run(*run)} blocked behind nothing, and nobody "
        "runs its lane"
        for run, number in stuck.items()
    ]
    sound = f"{in_words(count, 'subject')} blocked, each behind a delivery that failed"
    if not count:
        sound = "no subject is blocked"
    advice = "start a worker that loads the plugin: it lets them go on"
    return judge("blocked", problems, sound=sound, advice=advice)


def examine_intents(case: Case) -> Finding:
    """What operators asked for is carried out soon by the owners of the lanes."""
    table = case.tables.intent
    with case.store.reading() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).all()
        owned = find_owned(connection, case)
    late = case.store.now() - PATIENCE
    at_work = {(lane.subscription, lane.run) for lane in owned}
    problems = [
        f"{row.action} of {name_run(row.subscription, row.run)} (intent {row.id}) not carried out"
        for row in rows
        if row.asked_at < late and (row.subscription, row.run) in at_work
    ]
    return judge(
        "intents",
        problems,
        sound=f"{in_words(len(rows), 'intent')} waiting" if rows else "none is waiting",
        advice="the worker runs the lane and does not see to it: look at its log, then restart it",
    )


def _find_faults(lane: AnyRow, head: int) -> Iterator[str]:
    """Yield what is wrong with the progress of ``lane``."""
    name = f"{name_run(lane.subscription, lane.run)}, shards from {lane.first_shard}"
    if lane.checkpoint > head:
        yield f"{name}: the checkpoint {lane.checkpoint:,} is above the head, {head:,}"
    try:
        done = [(int(first), int(last)) for first, last in json.loads(lane.done)]
    except (ValueError, TypeError):
        yield f"{name}: done cannot be read"
        return
    if any(first > last for first, last in done):
        yield f"{name}: done holds a range that ends before it begins"
    if any(following[0] <= one[1] for one, following in pairwise(done)):
        yield f"{name}: the ranges in done overlap or do not ascend"
    if any(first <= lane.checkpoint for first, _last in done):
        yield f"{name}: done is not above the checkpoint, {lane.checkpoint:,}"
    if any(last > head for _first, last in done):
        yield f"{name}: done reaches above the head, {head:,}"


def _find_gaps(lanes: Sequence[AnyRow]) -> Iterator[str]:
    """Yield what is wrong with the shards of a run, whose ``lanes`` ascend."""
    if not lanes:
        yield "it has no lane"
        return
    is_live = lanes[0].run == LIVE
    following = 0
    for lane in lanes:
        if lane.last_shard < lane.first_shard or lane.last_shard >= SHARDS:
            yield f"a lane of the shards {lane.first_shard} to {lane.last_shard}"
        if lane.first_shard < following:
            yield f"two lanes of shard {lane.first_shard}"
        if is_live and lane.first_shard > following:
            yield f"no lane of the shards {following} to {lane.first_shard - 1}"
        following = max(following, lane.last_shard + 1)
    if is_live and following < SHARDS:
        yield f"no lane of the shards {following} to {SHARDS - 1}"


def _find_strays(connection: Connection, case: Case) -> Iterator[str]:
    tables = case.tables
    names = set(connection.scalars(select(tables.subscription.c.name)))
    replays = set(connection.scalars(select(tables.replay.c.id))) | {LIVE}
    for table in (tables.parked, tables.blocked, tables.attempt, tables.lane, tables.intent):
        key = table.c.subscription, table.c.run
        for name, run, count in connection.execute(select(*key, func.count()).group_by(*key)):
            rows = f"{in_words(count, 'row')} in {table.name}"
            if name not in names:
                yield f"{rows} of {name}, which is no subscription"
            elif run not in replays:
                yield f"{rows} of replay {run} of {name}, which does not exist"


def _find_runnable(connection: Connection, case: Case) -> set[tuple[str, int]]:
    """Return the runs that workers should see to: subscription and run."""
    subscription, replay = case.tables.subscription.c, case.tables.replay.c
    names = set(
        connection.scalars(select(subscription.name).where(subscription.state.in_(RUNNABLE)))
    )
    running = select(replay.subscription, replay.id).where(replay.state == RUNNING)
    replays = {(row[0], row[1]) for row in connection.execute(running) if row[0] in names}
    return {(name, LIVE) for name in names} | replays
