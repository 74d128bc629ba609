"""Tests of copying a log: all of it is there, or the target is no log."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Table, delete, func, insert, select, text, update
from sqlalchemy.exc import NoResultFound

from router import chunks, migrate
from router.claims import LIVE
from router.copies import COMPARING, COPYING, ROW_BY_ROW, Copied, Copy, CopyError
from router.errors import SchemaError
from router.lane import LEASE_MICROS
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options
from router.roster import Roster
from router.store import Store
from tests.clusters import Server
from tests.databases import make_empty
from tests.entries import append, append_messages, make_entry
from tests.histories import park, settle, start_replay, subscribe
from tests.records import read_blocked, read_lanes, read_parked

DIRECTIONS = ("to postgresql", "to sqlite")
FAR = 2_000_000_000_000_000  # microseconds: a retry that is not due
SUBJECTS = ["ana", "Ben", "ärger", "Zoë", "_", "🙂", "ana b"]  # in another order in each language


@pytest.fixture(params=DIRECTIONS)
def stores(
    request: pytest.FixtureRequest, sqlite_store: Store, postgres_store: Store
) -> tuple[Store, Store]:
    """A source and a target, in each direction in turn."""
    both = (sqlite_store, postgres_store)
    return both if request.param == DIRECTIONS[0] else (both[1], both[0])


@pytest.fixture
def source(stores: tuple[Store, Store]) -> Store:
    """A log with some of everything, on which nobody works any more."""
    store = stores[0]
    log = EventLog(store)
    append_messages(log, SUBJECTS * 2)
    traced = make_entry("dee", "read", text="x" * 5_000)
    notification = structs.replace(traced.notification, trace="00-1-2-01 a=1")
    append(log, structs.replace(traced, notification=notification))
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=9)
    for position in range(1, len(SUBJECTS) + 1):
        park(log, position, next_at=FAR, is_blocking=True)
    park(log, 9)
    start_replay(log, first=3)
    with store.writing() as connection:
        insert_alias = insert(store.tables.alias)
        connection.execute(insert_alias.values(channel="", contact="1", conversation="ana"))
        insert_intent = insert(store.tables.intent)
        asked = {"subscription": "crm", "run": 0, "actor": "ana", "asked_at": 5}
        connection.execute(insert_intent.values(id=41, action="redrive", **asked))
    return store


@pytest.fixture
def target(stores: tuple[Store, Store]) -> Store:
    """Tables of this version, and nothing in them."""
    return stores[1]


def read(store: Store, table: Table) -> list[tuple[Any, ...]]:
    """All rows of a table, in whatever order."""
    with store.reading() as connection:
        return sorted(map(tuple, connection.execute(select(table))), key=repr)


def copy(source: Store, target: Store, **options: Any) -> Copied:  # noqa: ANN401 - of Copy
    """Copy a log."""
    return Copy(source, target, **options).make(by="ana")


def cut_short(source: Store, target: Store, *, table: str = "event") -> None:
    """Begin a copy that does not get beyond a table."""

    def tell(what: str, name: str, rows: int) -> None:
        if (what, name) == (COPYING, table):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, target, tell=tell)


def test_all_is_the_same_but_who_works(source: Store, target: Store) -> None:
    """Every table has the same rows; lanes are nobody's, and the audit has one row more."""
    copied = copy(source, target)

    for name in {*ROW_BY_ROW, "head"} - {"lane", "audit"}:
        rows = read(source, getattr(source.tables, name))
        assert rows == read(target, getattr(target.tables, name))
        assert rows or name in {"dedupe_b"}
    assert (copied.position, copied.tables["event"].rows) == (15, 15)
    old, new = read_lanes(source), read_lanes(target)
    assert [lane.owner for lane in old] == ["w"]
    assert new == [lane._replace(owner=None) for lane in old]
    target.require_current()
    *audit, last = read(target, target.tables.audit)
    assert audit == read(source, source.tables.audit)
    assert last[2:4] == ("ana", "db copy")


def test_no_table_is_forgotten(source: Store) -> None:
    """A table that is new is copied, too, or there is a reason why not."""
    tables = source.tables
    names = {one.name for one in fields(tables) if isinstance(getattr(tables, one.name), Table)}

    assert names == {*ROW_BY_ROW, "head", "worker"}


def test_new_rows_are_numbered_behind_the_copied(source: Store, target: Store) -> None:
    """What comes next at the target gets a number of its own: events, replays, intents."""
    copy(source, target)
    log = EventLog(target)

    assert append_messages(log, ["ana"]) == [16]
    assert start_replay(log).id == 2
    with target.writing() as connection:
        asked = {"subscription": "crm", "run": 0, "actor": "ana", "asked_at": 5}
        made = connection.execute(
            insert(target.tables.intent).values(action="redrive", **asked)
        ).inserted_primary_key
    assert made == (42,)


def test_what_came_before_is_recognised(stores: tuple[Store, Store]) -> None:
    """A redelivery of what the source had is no news to the target."""
    entry = make_entry("ana")
    append(EventLog(stores[0]), entry)
    copy(*stores)

    [again] = EventLog(stores[1]).append([entry])

    assert (list(again.positions), EventLog(stores[1]).head()) == ([], 1)


def test_a_lane_is_claimed_and_cut_anew(source: Store, target: Store) -> None:
    """A subscription keeps its one lane, which a worker takes at once, until it is cut anew."""
    copy(source, target)
    Roster(target, pid=1).declare("crm", {"message": "allow"}, Options())

    [live] = [one for one in Lanes(target, worker="v").claim(["crm"]) if one.run == LIVE]

    assert (live.checkpoint, live.first_shard, live.last_shard) == (9, 0, 1023)
    assert read_parked(target) == read_parked(source)
    assert read_blocked(target) == read_blocked(source)


@pytest.mark.parametrize("table", ["notification", "event", "lane", "audit"])
def test_half_a_log_is_none(source: Store, target: Store, table: str) -> None:
    """Cut short anywhere, the target is refused by all that use a log, an upgrade too."""
    cut_short(source, target, table=table)

    with pytest.raises(SchemaError, match="router db copy"):
        target.require_current()
    with pytest.raises(SchemaError, match="router db copy"):
        migrate.upgrade(target.engine, target.tables)


def test_who_runs_already_appends_nothing_to_half_a_log(source: Store, target: Store) -> None:
    """A receiver that was started on the empty target stores nothing once a copy has begun."""
    log = EventLog(target)
    cut_short(source, target)

    with pytest.raises(NoResultFound):
        append_messages(log, ["ana"])

    assert read(target, target.tables.event) == read(source, source.tables.event)


@pytest.mark.parametrize("table", ["notification", "event", "lane", "audit"])
def test_it_goes_on(source: Store, target: Store, table: str) -> None:
    """The next one writes nothing that is there already, and comes to the same end."""
    cut_short(source, target, table=table)
    before = read(target, target.tables.notification)

    copied = copy(source, target)

    assert before == read(target, target.tables.notification)
    assert copied.position == 15
    target.require_current()


@pytest.mark.parametrize("step", [(COPYING, "notification"), (COMPARING, "audit")])
def test_of_two_copies_at_once_one_comes_to_its_end(
    source: Store, target: Store, step: tuple[str, str]
) -> None:
    """The other one changes nothing any more, whatever the target has taken by then."""
    added: list[int] = []

    def tell(what: str, name: str, rows: int) -> None:
        if (what, name) == step and not added:
            copy(source, target)
            added.extend(append_messages(EventLog(target), ["eve"]))

    with pytest.raises((SchemaError, CopyError)):
        copy(source, target, tell=tell)

    assert EventLog(target).find("16").subject == ":eve"
    target.require_current()


def test_a_part_of_another_log_is_not_gone_on_with(source: Store, target: Store) -> None:
    """The events tell whose beginning it is."""
    cut_short(source, target)
    event = source.tables.event
    with source.writing() as connection:
        connection.execute(update(event).where(event.c.position == 15).values(id="other"))

    with pytest.raises(CopyError, match="another log"):
        copy(source, target)


def test_a_target_that_holds_something_is_refused(source: Store, target: Store) -> None:
    """Nothing is changed there."""
    append_messages(EventLog(target), ["ana"])
    before = read(target, target.tables.event)

    with pytest.raises(CopyError, match="is not empty"):
        copy(source, target)

    assert read(target, target.tables.event) == before
    target.require_current()


def test_a_pruned_target_is_no_empty_one(source: Store, target: Store) -> None:
    """A log whose events are all gone has positions that were given out."""
    with target.writing() as connection:
        connection.execute(update(target.tables.head).values(position=3))

    with pytest.raises(CopyError, match="table head"):
        copy(source, target)


def test_a_source_that_is_worked_on_is_refused(source: Store, target: Store) -> None:
    """While a worker lives, and no longer; the target stays an empty log."""
    roster = Roster(source, pid=4711)
    roster.enrol(["crm"])
    with pytest.raises(CopyError, match="process 4711"):
        copy(source, target)
    target.require_current()

    with source.writing() as connection:  # it was killed, and its lease has run out
        seen = source.now() - LEASE_MICROS - 1
        connection.execute(update(source.tables.worker).values(seen_at=seen))
    assert copy(source, target).position == 15
    assert read(target, target.tables.worker) == []


def test_a_rebuild_is_not_left_behind(source: Store, target: Store) -> None:
    """What it has filled so far is in tables that are not copied."""
    with source.writing() as connection:
        connection.execute(update(source.tables.replay).values(rebuilds='["crm_contact"]'))

    with pytest.raises(CopyError, match="rebuild 1"):
        copy(source, target)


def add_event(store: Store) -> None:
    """Append, as a receiver would that was left running."""
    append_messages(EventLog(store), ["eve"])


def move_lane(store: Store) -> None:
    """Move a checkpoint, as a worker would."""
    with store.writing() as connection:
        connection.execute(update(store.tables.lane).values(checkpoint=12))


def drop_parked(store: Store) -> None:
    """Take dead letters away, as nothing does without a trace."""
    parked = store.tables.parked
    with store.writing() as connection:
        connection.execute(delete(parked).where(parked.c.position.in_((1, 9))))


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (add_event, (COPYING, "audit")),
        (add_event, (COMPARING, "audit")),
        (move_lane, (COPYING, "audit")),
        (move_lane, (COMPARING, "audit")),
        (drop_parked, (COPYING, "audit")),  # later on, the comparison is the last to see it
    ],
)
def test_a_source_that_moves_is_found_out(
    source: Store, target: Store, change: Callable[[Store], None], step: tuple[str, str]
) -> None:
    """The target is no log then; the next time it becomes what the source has come to be."""

    def tell(what: str, name: str, rows: int) -> None:
        if (what, name) == step:
            change(source)

    with pytest.raises(CopyError, match="changed while it was copied"):
        copy(source, target, tell=tell)
    with pytest.raises(SchemaError):
        target.require_current()

    copied = copy(source, target)

    for name in ("event", "parked", "head"):
        assert read(source, getattr(source.tables, name)) == read(
            target, getattr(target.tables, name)
        )
    assert copied.position == read(source, source.tables.head)[0][1]
    assert read_lanes(target)[0].checkpoint == read_lanes(source)[0].checkpoint


def test_a_value_that_differs_is_found_out(source: Store, target: Store) -> None:
    """As many rows are not enough: each value counts."""

    def tell(what: str, name: str, rows: int) -> None:
        if (what, name) == (COPYING, "audit"):
            event = target.tables.event
            with target.writing() as connection:
                connection.execute(update(event).where(event.c.position == 7).values(path="$.a"))

    with pytest.raises(CopyError, match="with other values"):
        copy(source, target, tell=tell)


@pytest.mark.parametrize(("rows", "size"), [(1, 1 << 20), (3, 1 << 20), (1_000, 1)])
def test_small_chunks_come_to_the_same(
    source: Store, target: Store, rows: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the rows of a table are divided, by their number or their bytes."""
    whole = {
        name: chunks.sum_up(chunks.read_chunks(source, getattr(source.tables, name)))
        for name in ROW_BY_ROW
        if name != "lane"
    }
    monkeypatch.setattr(chunks, "ROWS", rows)
    monkeypatch.setattr(chunks, "BYTES", size)

    copied = copy(source, target)

    assert {name: copied.tables[name] for name in whole} == whole
    for name in ("blocked", "parked"):
        assert read(source, getattr(source.tables, name)) == read(
            target, getattr(target.tables, name)
        )


def test_rows_are_counted(source: Store, target: Store) -> None:
    """What is told on the way are the rows of each table."""
    told: dict[tuple[str, str], int] = {}

    def tell(what: str, name: str, rows: int) -> None:
        told[what, name] = rows

    copy(source, target, tell=tell)

    assert told[COPYING, "event"] == told[COMPARING, "event"] == 15
    assert {name for _, name in told} == set(ROW_BY_ROW)
    with source.reading() as connection:
        parked = connection.scalars(select(func.count()).select_from(source.tables.parked)).one()
    assert told[COMPARING, "parked"] == parked


def test_a_language_does_not_matter(
    source: Store, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server would order texts in its own way, the copy goes by their bytes."""
    name = postgres.make()
    make_empty(postgres.url(name))
    target = Store(postgres.url(name))
    with target.writing() as connection:
        for column in ("subscription", "subject"):
            kind = 'TYPE text COLLATE "en-x-icu"'
            connection.exec_driver_sql(f"ALTER TABLE blocked ALTER COLUMN {column} {kind}")
        values = "unnest(CAST(:all AS text[])) AS x"
        query = text(f'SELECT x FROM {values} ORDER BY x COLLATE "en-x-icu"')  # noqa: S608
        assert connection.scalars(query, {"all": SUBJECTS}).all() != sorted(SUBJECTS)
    monkeypatch.setattr(chunks, "ROWS", 2)

    copy(source, target)

    assert read_blocked(target) == read_blocked(source)
    target.close()
    postgres.drop(name)
