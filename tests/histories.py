"""What the router leaves behind in a log: subscriptions, their progress, failures and replays."""

from collections import Counter

from router.claims import LIVE
from router.events import SHARDS
from router.filters import Filter
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options
from router.parking import Failure, Parking
from router.replay import Replays
from router.replay_counts import Count, add_counts
from router.replay_record import Replay
from router.replay_runs import ReplayRuns
from router.roster import Roster

EVERY_TYPE = dict.fromkeys(("message", "sent", "delivered", "read", "error", "other"), "allow")


def subscribe(
    log: EventLog, name: str = "crm", *, policies: dict[str, str] | None = None, lanes: int = 1
) -> list[Lane]:
    """Bring a subscription to the whole log into being and return its lanes, claimed."""
    options = Options(start="beginning", lanes=lanes)
    owner = Lanes(log.store, worker="w")
    Roster(log.store, pid=1).declare(name, policies or EVERY_TYPE, options)
    return owner.claim([name])


def settle(log: EventLog, lane: Lane, *, checkpoint: int) -> None:
    """Write down that ``lane`` has come up to ``checkpoint``."""
    with Lanes(log.store, worker="w").owning(lane, checkpoint=checkpoint, done=[]):
        pass


def park(
    log: EventLog,
    position: int,
    *,
    name: str = "crm",
    run: int = LIVE,
    error: str = "KeyError: 'a'",
    next_at: int | None = None,
    is_blocking: bool = False,
    started_at: int = 1_700_000_000_000_000,
) -> None:
    """Write down that a delivery failed; without ``next_at`` it is a dead letter."""
    lane = Lane(name, run, 0, SHARDS - 1, 1, 0, [])
    event = log.find(str(position))
    failure = Failure(started_at, 0.25, "failed", error, f"Traceback …\n{error}")
    parking = Parking(log.store.tables)
    with log.store.writing() as connection:
        parking.park(connection, lane, event, failure=failure, next_at=next_at)
        if is_blocking:
            parking.block(connection, lane, event)


def start_replay(log: EventLog, name: str = "crm", *, first: int = 1) -> Replay:
    """Write down a replay from ``first`` on, which waits for a worker."""
    replays = Replays(log)
    plan = replays.plan(name, first=first, matching=Filter())
    return replays.start(plan, reason="repair", by="ana")


def end_replay(log: EventLog, *, failed: int = 0) -> None:
    """Do what a worker would with the replays that wait: begin them, and come to their end."""
    replays, runs = Replays(log), ReplayRuns(log.store)
    names = [replay.subscription for replay in replays.list(limit=100)]
    runs.take_up(names)
    owner = Lanes(log.store, worker="w")
    with log.store.writing() as connection:  # the live lane's owner alone may take them
        connection.execute(log.store.tables.lane.update().values(owner=owner.worker, expires_at=0))
    for lane in owner.claim(names):
        if lane.run == LIVE:
            continue
        replay = replays.find(lane.run)
        with owner.owning(lane, checkpoint=replay.end - 1, done=[]) as connection:
            counts: Counter[Count] = Counter()
            counts["message", "done"], counts["message", "failed"] = replay.total - failed, failed
            add_counts(connection, counts, tables=log.store.tables, number=replay.id)
            owner.remove(lane, connection)
            runs.finish(connection, lane)
