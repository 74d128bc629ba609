"""Checks of the delivery at work: workers, lanes that nobody runs, states, and slow handlers."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, and_, func, select

from router.claims import LIVE
from router.doctor.findings import Case, Finding, as_span, in_words, judge
from router.doctor.owners import RUNNABLE, AnyRow, find_alive, find_owned, find_owner, name_run
from router.events import as_rfc3339, from_micros
from router.lane import SUSPECT_TAKEOVERS
from router.parking import ALONE, RETRY, RUNNING
from router.replay_states import PLANNED
from router.replay_states import RUNNING as REPLAYING

PATIENCE = 120_000_000  # microseconds; a lane whose delivery broke off rests for half as long
TIMED_OUT = "timed out"

REMEDIES = {
    "failing": "Failing: mend what `router subscriptions show` names as its last error; then it "
    "goes on by itself.",
    "missing": "Missing: install its plugin again, give what is on record to another one with "
    "`router subscriptions rename`, or give it up with `router subscriptions forget`.",
}


def examine_workers(case: Case) -> Finding:
    """Somebody is alive while there is something to deliver."""
    with case.store.reading() as connection:
        alive = find_alive(connection, case)
        waiting = list(_find_waiting(connection, case))
    if alive:
        sound = f"{in_words(len(alive), 'worker')} alive"
        return judge("workers", [], sound=sound, advice="")
    problems = ["none is alive", *waiting] if waiting else []
    sound = "none is alive, and nothing waits"
    advice = "start `router worker`, or `router serve` without --no-worker"
    return judge("workers", problems, sound=sound, advice=advice)


def examine_leases(case: Case) -> Finding:
    """While a worker is alive, no lane with something to do is without an owner for long."""
    with case.store.reading() as connection:
        owned = find_owned(connection, case)
        alive = find_alive(connection, case)
        idle = _find_idle(connection, case) if alive else []
    now = case.store.now()
    problems = [
        f"nobody runs {name_run(lane.subscription, lane.run)} (shards {lane.first_shard} to "
        f"{lane.last_shard}) though it has waited for {as_span(now - since)}"
        for lane, since in idle
        if now - since > PATIENCE
    ]
    return judge(
        "leases",
        problems,
        sound=f"{in_words(len(owned), 'lane')} with a living owner",
        advice="the workers alive do not load its plugin, or cannot run it: look at their logs, "
        "then start a worker with that plugin",
    )


def examine_takeovers(case: Case) -> Finding:
    """No lane has outlived several owners at one checkpoint."""
    lane = case.tables.lane
    query = select(lane).where(lane.c.takeovers >= SUSPECT_TAKEOVERS)
    with case.store.reading() as connection:
        rows = connection.execute(query).all()
    problems = [
        f"{name_run(row.subscription, row.run)}: its process died {row.takeovers} times in a row "
        f"at checkpoint {row.checkpoint:,}, so what follows runs one event at a time"
        for row in rows
    ]
    return judge(
        "takeovers",
        problems,
        sound="no lane has lost its owners at one checkpoint",
        advice="an event behind that checkpoint probably ends the process (memory, a native "
        "library, an exit): it becomes a dead letter; see `router dead list` and the workers' logs",
    )


def examine_states(case: Case) -> Finding:
    """No subscription is failing or missing; a paused one is what somebody wanted."""
    tables = case.tables
    with case.store.reading() as connection:
        rows = connection.execute(select(tables.subscription).order_by("name")).all()
        lags = _find_lags(connection, case)
    ill = [row for row in rows if row.state in REMEDIES]
    problems = [
        f"{row.name} is {row.state}" + (f" ({row.state_reason})" if row.state_reason else "")
        for row in ill
    ]
    sound = in_words(len(rows), "subscription")
    paused = [f"{row.name} by {lags.get(row.name, 0):,}" for row in rows if row.state == "paused"]
    if paused:
        sound += f", paused and behind: {', '.join(paused)}"
    return judge(
        "states",
        problems,
        sound=sound,
        advice=" ".join(REMEDIES[state] for state in sorted({row.state for row in ill})),
    )


def examine_timeouts(case: Case) -> Finding:
    """No handler overran its time in a delivery that has not succeeded since.

    One pass over the table attempt, which holds the calls of deliveries that failed.
    """
    attempt, subscription = case.tables.attempt.c, case.tables.subscription.c
    query = (
        select(
            attempt.subscription,
            func.count().label("calls"),
            func.max(attempt.started_at).label("newest"),
            func.max(attempt.duration).label("longest"),
        )
        .where(attempt.outcome == TIMED_OUT)
        .group_by(attempt.subscription)
    )
    with case.store.reading() as connection:
        rows = connection.execute(query).all()
        options = connection.execute(select(subscription.name, subscription.options)).all()
    timeouts = {name: _timeout_of(text) for name, text in options}
    problems = [
        f"{row.subscription}: {in_words(row.calls, 'call')} over the {timeouts[row.subscription]:g}"
        f" s of its timeout, the newest at {as_rfc3339(from_micros(row.newest))}, the longest of "
        f"{row.longest or 0:.3g} s"
        for row in rows
        if row.subscription in timeouts
    ]
    return judge(
        "timeouts",
        problems,
        sound="no handler overran its time in what is retried or dead",
        advice="find what those handlers wait for, or allow more: timeout in [subscriptions.NAME]; "
        "redrive or discard what is dead of it (`router dead list`)",
    )


def examine_hanging(case: Case) -> Finding:
    """No retry under way has taken twice its time; first attempts are not on record."""
    tables = case.tables
    attempt, parked, subscription = tables.attempt.c, tables.parked.c, tables.subscription.c
    last = and_(
        parked.subscription == attempt.subscription,
        parked.run == attempt.run,
        parked.position == attempt.position,
        parked.attempts == attempt.number,
    )
    query = (
        select(tables.attempt, parked.shard, subscription.options)
        .join(tables.parked, last)
        .join(tables.subscription, subscription.name == attempt.subscription)
        .where(attempt.outcome.in_((RUNNING, ALONE)), parked.state == RETRY)
    )
    with case.store.reading() as connection:
        rows = connection.execute(query).all()
        owned = find_owned(connection, case)
    now = case.store.now()
    problems = []
    for row in rows:
        owner = find_owner(owned, row.subscription, row.run, shard=row.shard)
        taken = now - row.started_at
        # One that began before its owner did ended with another process.
        is_under_way = owner is not None and row.started_at >= owner.started_at
        if is_under_way and taken > 2 * _timeout_of(row.options) * 1_000_000:
            name = name_run(row.subscription, row.run)
            problems.append(
                f"{name}: attempt {row.number} at {row.position:,} for {as_span(taken)}"
            )
    return judge(
        "hanging",
        problems,
        sound="no retry has taken twice its time",
        advice="a plain function cannot be stopped and keeps its thread: restart the worker, and "
        "give whatever it waits for a time limit of its own",
    )


def _find_lags(connection: Connection, case: Case) -> dict[str, int]:
    """Return how many positions each subscription is behind."""
    lane, head = case.tables.lane.c, case.tables.head.c
    newest = connection.scalars(select(head.position)).one()
    query = select(lane.subscription, func.min(lane.checkpoint)).where(lane.run == LIVE)
    rows = connection.execute(query.group_by(lane.subscription))
    return {name: newest - checkpoint for name, checkpoint in rows}


def _find_waiting(connection: Connection, case: Case) -> Iterator[str]:
    """Yield what a worker would have to do."""
    subscription, parked, replay = (
        table.c for table in (case.tables.subscription, case.tables.parked, case.tables.replay)
    )
    runnable = select(subscription.name).where(subscription.state.in_(RUNNABLE))
    names = connection.scalars(runnable.order_by(subscription.name)).all()
    lags = _find_lags(connection, case)
    query = select(parked.subscription, func.count()).where(parked.state == RETRY)
    rows = connection.execute(query.group_by(parked.subscription))
    retries = {row[0]: row[1] for row in rows}
    for name in names:
        if lag := lags.get(name, 0):
            yield f"{name} is behind by {lag:,}"
        if count := retries.get(name, 0):
            yield f"{name} has {count:,} to retry"
    waiting = select(replay.id).where(
        replay.state.in_((PLANNED, REPLAYING)), replay.subscription.in_(names)
    )
    for number in connection.scalars(waiting.order_by(replay.id)):
        yield f"replay {number} waits"


def _find_idle(connection: Connection, case: Case) -> list[tuple[AnyRow, int]]:
    """Return the lanes that wait for an owner, each with since when: microseconds since 1970."""
    tables = case.tables
    lane, subscription, replay = tables.lane.c, tables.subscription.c, tables.replay.c
    names = select(subscription.name).where(subscription.state.in_(RUNNABLE))
    replays = select(replay.id).where(replay.state == REPLAYING)
    rows = connection.execute(
        select(tables.lane).where(
            lane.subscription.in_(names), (lane.run == LIVE) | lane.run.in_(replays)
        )
    ).all()
    found = []
    for row in rows:
        if row.owner is not None:
            found.append((row, row.expires_at))
        elif row.run == LIVE and (since := _find_age(connection, case, row.checkpoint)) is not None:
            found.append((row, since))
    return found


def _find_age(connection: Connection, case: Case, checkpoint: int) -> int | None:
    """Return when the first event behind ``checkpoint`` was received; None where there is none."""
    event, notification = case.tables.event, case.tables.notification
    query = (
        select(notification.c.received_at)
        .join(event, event.c.notification_id == notification.c.id)
        .where(event.c.position > checkpoint)
        .order_by(event.c.position)
        .limit(1)
    )
    return connection.scalars(query).first()


def _timeout_of(options: str) -> float:
    """Return the seconds that a call may take by a subscription's options on record."""
    found: float = msgspec.json.decode(options)["timeout"]
    return found
