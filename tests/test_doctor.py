"""Tests of `router.doctor`: a sound log has no finding, and each kind of damage is named."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text, update

from router.claims import LIVE
from router.doctor import BENEATH, WITHIN, Finding, examine, file, machine
from router.doctor.findings import Case
from router.errors import Unavailable
from router.events import Event
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay_runs import ReplayRuns
from router.retention import Retention
from router.roster import Roster
from router.store import Store
from tests.clocks import StillClock
from tests.dispatching import dispatching
from tests.entries import NOON, append, append_messages, make_entry
from tests.histories import EVERY_TYPE, park, start_replay, subscribe
from tests.storing import file_of
from tests.subscribers import make_subscription
from tests.waiting import until

MINUTE = 60_000_000
NOW = int(NOON.timestamp() * 1_000_000) + MINUTE


@pytest.fixture
def clock() -> StillClock:
    """The clock that everything goes by."""
    return StillClock(past=60)


@pytest.fixture
def busy(log: EventLog) -> EventLog:
    """A log at work: a living worker runs both lanes and a replay; one delivery waits, one died.

    Positions 1 and 4 are parked, the first of them blocks its subject.
    """
    append_messages(log, ["ana", "ben", "ana", "cem", "ben", "ana"])
    roster = Roster(log.store, pid=1)
    roster.enrol()
    owner = Lanes(log.store, worker=roster.worker)
    roster.declare("crm", EVERY_TYPE, Options(start="beginning", lanes=2))
    for lane in owner.claim(["crm"]):
        with owner.owning(lane, checkpoint=4, done=[(6, 6)]):
            pass
    park(log, 1, next_at=NOW + MINUTE, is_blocking=True)
    park(log, 4)
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    owner.claim(["crm"])
    return log


def damage(log: EventLog, *statements: str) -> None:
    """Change something behind the router's back; ``:now`` is the present, in microseconds."""
    with log.store.writing() as connection:
        for statement in statements:
            values = {"now": log.store.now()} if ":now" in statement else {}
            connection.execute(text(statement), values)


def case(log: EventLog) -> Case:
    """Return what single checks are given; the machine's clock is the store's."""
    return Case(store=log.store, is_deep=False, clock=lambda: log.store.now() / 1_000_000)


def look(log: EventLog, *, is_deep: bool = False) -> dict[str, Finding]:
    """Return the problems that are found, by the name of the check."""
    found = examine(log.store, is_deep=is_deep, clock=case(log).clock)
    return {one.check: one for one in found if not one.is_sound}


def test_an_empty_log_is_sound(log: EventLog) -> None:
    """Nothing is wrong with a database that has just been made."""
    assert look(log, is_deep=True) == {}


def test_a_busy_log_is_sound(busy: EventLog) -> None:
    """Failures, dead letters, blocked subjects and a replay under way are everyday life."""
    assert look(busy) == {}
    assert look(busy, is_deep=True) == {}


def test_each_finding_bears_the_name_of_its_check(busy: EventLog) -> None:
    """A check that cannot be made is reported under the same name as one that can."""
    names = [one.check for one in examine(busy.store)]
    damage(busy, "DROP TABLE lane", "DROP TABLE parked", "DROP TABLE audit")

    broken = examine(busy.store)

    assert [one.check for one in broken] == names
    count = {"sqlite": 20, "postgresql": 21}[busy.store.engine.dialect.name]
    assert len(names) == len(set(names)) == count


DAMAGES = [
    (
        "positions",
        "1 event between 1 and the head, 6, missing, the first at 3",
        "DELETE FROM event WHERE position = 3",
    ),
    (
        "positions",
        "3 events between 1 and the head, 9, missing, the first at 7",
        "UPDATE head SET position = 9",
    ),
    ("positions", "the newest event is at 6, above the head, 5", "UPDATE head SET position = 5"),
    (
        "notifications",
        "1 event without notification, the first at 2",
        "DELETE FROM notification WHERE id = 2",
    ),
    (
        "notifications",
        "1 notification without event, the first at 3",
        "DELETE FROM event WHERE position = 3",
    ),
    (
        "notifications",
        "1 notification without event, the first at 99",
        "UPDATE notification SET id = 99 WHERE id = 6",
    ),
    (
        "shards",
        "1 event in a wrong shard, the first at 2",
        "UPDATE event SET shard = (shard + 1) % 1024 WHERE position = 2",
    ),
    ("dedupe", "1 event forgotten, the first at 5", "DELETE FROM dedupe_a WHERE position = 5"),
    (
        "checkpoints",
        "crm, shards from 512: the checkpoint 7 is above the head, 6",
        "UPDATE lane SET checkpoint = 7, done = '[]' WHERE run = 0 AND first_shard = 512",
    ),
    (
        "checkpoints",
        "crm, shards from 0: done is not above the checkpoint, 4",
        "UPDATE lane SET done = '[[4,5]]' WHERE run = 0 AND first_shard = 0",
    ),
    (
        "checkpoints",
        "crm, shards from 0: done reaches above the head, 6",
        "UPDATE lane SET done = '[[6,7]]' WHERE run = 0 AND first_shard = 0",
    ),
    (
        "checkpoints",
        "crm, shards from 0: done holds a range that ends before it begins",
        "UPDATE lane SET done = '[[6,5]]' WHERE run = 0 AND first_shard = 0",
    ),
    (
        "checkpoints",
        "crm, shards from 0: the ranges in done overlap or do not ascend",
        "UPDATE lane SET done = '[[5,6],[6,6]]' WHERE run = 0 AND first_shard = 0",
    ),
    (
        "checkpoints",
        "replay 1 of crm, shards from 0: done cannot be read",
        "UPDATE lane SET done = '[5,6]' WHERE run = 1 AND first_shard = 0",
    ),
    (
        "lanes",
        "crm: no lane of the shards 401 to 511",
        "UPDATE lane SET last_shard = 400 WHERE run = 0 AND first_shard = 0",
    ),
    (
        "lanes",
        "crm: no lane of the shards 0 to 511",
        "DELETE FROM lane WHERE run = 0 AND first_shard = 0",
    ),
    (
        "lanes",
        "crm: no lane of the shards 512 to 1023",
        "DELETE FROM lane WHERE run = 0 AND first_shard = 512",
    ),
    ("lanes", "crm: it has no lane", "DELETE FROM lane WHERE run = 0"),
    ("lanes", "replay 1 of crm: it has no lane", "DELETE FROM lane WHERE run = 1"),
    (
        "lanes",
        "replay 1 of crm: two lanes of shard 512",
        "UPDATE lane SET last_shard = 600 WHERE run = 1 AND first_shard = 0",
    ),
    (
        "orphans",
        "1 attempt of a delivery that is not parked",
        "DELETE FROM parked WHERE position = 4",
    ),
    ("orphans", "1 row in parked without an event", "DELETE FROM event WHERE position = 4"),
    (
        "orphans",
        "2 rows in parked of replay 7 of crm, which does not exist",
        "UPDATE parked SET run = 7",
    ),
    (
        "orphans",
        "1 row in blocked of gone, which is no subscription",
        "UPDATE blocked SET subscription = 'gone'",
    ),
    (
        "orphans",
        "2 rows in attempt of gone, which is no subscription",
        "UPDATE attempt SET subscription = 'gone'",
    ),
    (
        "orphans",
        "2 rows in lane of gone, which is no subscription",
        "UPDATE lane SET subscription = 'gone' WHERE run = 0",
    ),
    (
        "orphans",
        "1 row in intent of gone, which is no subscription",
        "INSERT INTO intent VALUES (1, 'gone', 0, 'redrive', NULL, 'ana', 1)",
    ),
    (
        "blocked",
        "1 subject of crm blocked behind nothing, and nobody runs its lane",
        "UPDATE blocked SET position = 3; UPDATE lane SET owner = NULL",
    ),
    (
        "intents",
        "redrive of crm (intent 1) not carried out",
        "INSERT INTO intent VALUES (1, 'crm', 0, 'redrive', NULL, 'ana', 1)",
    ),
    (
        "workers",
        "none is alive; crm is behind by 2; crm has 1 to retry; and 1 more",
        "DELETE FROM worker",
    ),
    (
        "leases",
        "nobody runs crm (shards 0 to 511) though it has waited for 3 minutes",
        "UPDATE lane SET expires_at = :now - 3 * 60000000 WHERE run = 0 AND first_shard = 0",
    ),
    (
        "leases",
        "nobody runs crm (shards 512 to 1023) though it has waited for 61 minutes",
        "UPDATE notification SET received_at = :now - 3660000000; "
        "UPDATE lane SET owner = NULL WHERE run = 0 AND first_shard = 512",
    ),
    (
        "takeovers",
        "crm: its process died 2 times in a row at checkpoint 4, so what follows runs one "
        "event at a time",
        "UPDATE lane SET takeovers = 2 WHERE run = 0 AND first_shard = 0",
    ),
    ("states", "crm is failing", "UPDATE subscription SET state = 'failing'"),
    (
        "states",
        "crm is missing (its plugin is gone)",
        "UPDATE subscription SET state = 'missing', state_reason = 'its plugin is gone'",
    ),
    (
        "timeouts",
        "crm: 1 call over the 30 s of its timeout, the newest at 2023-11-14T22:13:20Z, "
        "the longest of 31.5 s",
        "UPDATE attempt SET outcome = 'timed out', duration = 31.5 WHERE position = 4",
    ),
    (
        "hanging",
        "crm: attempt 1 at 1 for 2 minutes",
        "UPDATE worker SET started_at = 1; "
        "UPDATE attempt SET outcome = 'running', started_at = :now - 2 * 60000000",
    ),
    (
        "clock",
        "the newest notification is 6 s in the future",
        "UPDATE notification SET received_at = :now + 6000000 WHERE id = 2",
    ),
    (
        "clock",
        "the last append is 2 hours in the future",
        "UPDATE head SET appended_at = :now + 7200000000",
    ),
    ("clock", "a worker is 6 s in the future", "UPDATE worker SET seen_at = :now + 6000000"),
    (
        "schema",
        "index ix_event_subject_position is missing",
        "DROP INDEX ix_event_subject_position",
    ),
]


@pytest.mark.parametrize(
    ("name", "words", "statements"), DAMAGES, ids=[words for _, words, _ in DAMAGES]
)
def test_damage_is_named(busy: EventLog, name: str, words: str, statements: str) -> None:
    """Whatever is wrong, the check that is for it says what and where, and what to do."""
    engine = busy.store.engine.dialect.name
    checks = [machine.examine_schema, *BENEATH[engine], *WITHIN]
    [check] = [one for one in checks if one.__name__ == f"examine_{name}"]
    assert check(case(busy)).is_sound
    damage(busy, *statements.split("; "))

    found = check(case(busy))

    assert (found.check, found.is_sound) == (name, False)
    assert words in found.text
    assert found.advice


HARMLESS = [
    "UPDATE subscription SET state = 'paused'; DELETE FROM worker; UPDATE lane SET owner = NULL",
    "UPDATE lane SET expires_at = :now - 60000000 WHERE run = 0",
    "UPDATE lane SET takeovers = 1",
    "DELETE FROM lane WHERE run = 1 AND first_shard = 0",
    "UPDATE blocked SET position = 3",
    "INSERT INTO intent VALUES (1, 'crm', 0, 'redrive', NULL, 'ana', :now - 30000000)",
    "UPDATE attempt SET outcome = 'running', started_at = :now - 9 * 60000000",
    "UPDATE worker SET started_at = 1; "
    "UPDATE attempt SET outcome = 'running', started_at = :now - 60000000",
    "UPDATE head SET rotated_at = :now; DELETE FROM dedupe_a",
    "UPDATE worker SET seen_at = :now + 1000000",
]


@pytest.mark.parametrize("statements", HARMLESS)
def test_what_may_be_so_is_no_problem(busy: EventLog, statements: str) -> None:
    """Pauses, hand-overs, what came to its end, and what is only a little late are no damage."""
    damage(busy, *statements.split("; "))

    assert look(busy) == {}


def test_what_is_neither_old_nor_new_is_found_with_deep(log: EventLog) -> None:
    """Only the oldest and the newest events are looked at one by one, unless all are asked for."""
    append_messages(log, ["ana"] * 3_000)
    damage(
        log,
        "UPDATE event SET shard = 0 WHERE position = 1500",
        "DELETE FROM notification WHERE id = 1501",
    )

    assert look(log) == {}
    found = look(log, is_deep=True)

    assert found.keys() == {"shards", "notifications"}
    assert "the first at 1,500" in found["shards"].text
    assert "the first at 1,501" in found["notifications"].text


@pytest.fixture
def pruned(log: EventLog) -> EventLog:
    """A log of six events whose positions 1, 2 and 4 are pruned; 3 was younger."""
    late = NOON + timedelta(minutes=1)
    append(log, make_entry(), make_entry(), make_entry(received_at=late), make_entry())
    append(log, make_entry(received_at=late), make_entry(received_at=late))
    retention = Retention(log.store, sleep=lambda _: None)
    retention.prune(retention.plan(NOON + timedelta(seconds=1)), by="ana")
    assert [one.position for one in log.read()] == [3, 5, 6]
    return log


def test_what_was_pruned_is_no_gap(pruned: EventLog) -> None:
    """Up to the last position that was pruned, any may be gone."""
    assert look(pruned, is_deep=True) == {}


def test_what_was_pruned_without_its_end_on_record_is_no_gap(pruned: EventLog) -> None:
    """Older records of a prune tell only what position was still needed."""
    audit = pruned.store.tables.audit
    with pruned.store.writing() as connection:
        detail = json.loads(connection.scalars(select(audit.c.detail)).one())
        del detail["last"]
        connection.execute(update(audit).values(detail=json.dumps(detail)))

    assert look(pruned) == {}


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (5, "1 event between 5 and the head, 6, missing, the first at 5"),
        (3, "1 event up to 4 gone that `db prune` did not delete"),
    ],
)
def test_a_gap_beside_what_was_pruned_is_found(pruned: EventLog, position: int, words: str) -> None:
    """Above it every position must be there, and below no more may be gone than were deleted."""
    event = pruned.store.tables.event
    with pruned.store.writing() as connection:
        connection.execute(event.delete().where(event.c.position == position))

    assert words in look(pruned)["positions"].text


def test_a_clock_that_is_off_is_found(busy: EventLog, clock: StillClock) -> None:
    """The database's clock is compared with the machine's."""
    found = {one.check: one for one in examine(busy.store, clock=lambda: clock.now + 10)}

    assert "the database's clock is 10 s off" in found["clock"].text


def test_tables_of_another_version_are_not_looked_into(busy: EventLog) -> None:
    """Then the schema is the finding, and only what needs no table is looked at beside it."""
    damage(busy, "UPDATE router_schema_version SET version_num = '0001'")

    found = examine(busy.store)

    beneath = len(BENEATH[busy.store.engine.dialect.name])
    assert [one.is_sound for one in found] == [False, *[True] * beneath]
    assert found[0].check == "schema"
    assert "`router db upgrade`" in found[0].advice


def test_a_check_that_fails_is_a_finding(busy: EventLog) -> None:
    """A missing table stops nothing but what needs it."""
    damage(busy, "DROP TABLE attempt")

    found = look(busy)

    assert found.keys() == {"schema", "orphans", "timeouts", "hanging"}
    assert "could not be examined: Unavailable" in found["timeouts"].text
    assert "attempt" in found["timeouts"].text
    assert "`router db upgrade`" in found["timeouts"].text


@pytest.mark.engines("sqlite")
def test_a_file_that_is_no_database_is_not_examined(store: Store) -> None:
    """There is nothing to be found in it."""
    with open(file_of(store), "wb") as file:
        file.write(b"not a database" * 1_000)

    with pytest.raises(Unavailable, match="not a database"):
        examine(store)


@pytest.mark.engines("sqlite")
def test_weak_settings_are_found(busy: EventLog) -> None:
    """What SQLite says of itself counts, not what it was told."""
    engine = busy.store.engine
    engine.dispose()
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = NORMAL"))

    assert look(busy)["durability"].text == "journal_mode=wal, synchronous=NORMAL"


@pytest.mark.engines("postgresql")
def test_settings_of_a_server_are_shown(busy: EventLog) -> None:
    """Those that decide what a crash loses, as they are for what the router writes."""
    found = {one.check: one for one in examine(busy.store)}["durability"]

    assert found.is_sound
    assert found.text == "fsync=on, full_page_writes=on, synchronous_commit=on"


@pytest.mark.engines("sqlite")
def test_a_long_reader_is_found(busy: EventLog) -> None:
    """What it keeps from being moved counts, and once it is gone, a long file is no problem."""
    with closing(sqlite3.connect(file_of(busy.store), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM head").fetchall()
        append_messages(busy, ["ana"] * 500)

        found = file.examine_wal(case(busy), most=65_536)
        assert not found.is_sound
        assert f"`fuser -v {file_of(busy.store)}`" in found.advice

        reader.execute("COMMIT")
        found = file.examine_wal(case(busy), most=65_536)
        assert found.is_sound
        assert "0 bytes of it cannot be moved" in found.text


@pytest.mark.engines("sqlite")
def test_a_full_disk_is_found(busy: EventLog) -> None:
    """There must be room for some days of growth."""
    plenty = file.examine_disk(case(busy), free_of=lambda _: 10**9)
    little = file.examine_disk(case(busy), free_of=lambda _: 10**8)

    assert (plenty.is_sound, little.is_sound) == (True, False)
    assert little.text.startswith("95.4 MiB free beside a database of ")
    assert "in the last day" in little.text


def test_delivery_under_load_is_sound(database: str) -> None:
    """While a worker delivers, and one event in three fails, no look finds anything wrong."""
    store = Store(database)
    log = EventLog(store)
    subscribe(log, "idle")
    damage(log, "DELETE FROM subscription", "DELETE FROM lane")
    calls = 0

    def on_message(event: Event) -> None:
        nonlocal calls
        calls += 1
        if event.position % 3 == 0:
            raise ValueError

    options = Options(start="beginning", retry=RetryOptions(first=0.01, attempts=3, jitter=False))
    found: list[dict[str, Finding]] = []

    async def deliver() -> None:
        async with dispatching(log, make_subscription(options=options, on_message=on_message)):
            for _ in range(5):
                now = store.now() // 1_000_000
                at = NOON + timedelta(seconds=now - NOON.timestamp())
                entries = [make_entry(f"{n % 7}", received_at=at) for n in range(60)]
                await asyncio.to_thread(append, log, *entries)
                found.append(await asyncio.to_thread(look, log, is_deep=True))
            await until(lambda: calls == 500)
            found.append(await asyncio.to_thread(look, log, is_deep=True))

    asyncio.run(deliver())
    found.append(look(log, is_deep=True))
    store.close()

    assert found == [{}] * 7


def test_replays_without_a_worker_wait(log: EventLog) -> None:
    """A replay is work, too; a lane that nobody needs is none."""
    append_messages(log, ["ana"])
    [lane] = subscribe(log)
    with Lanes(log.store, worker="w").owning(lane, checkpoint=1, done=[]):
        pass
    assert look(log) == {}

    replay = start_replay(log)

    assert lane.run == LIVE
    assert look(log)["workers"].text == f"none is alive; replay {replay.id} waits"
