"""A shop whose adapter knew messages alone at first, and receipts since it was corrected."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from router.events import Draft, Entry, EventType, Notification
from router.log import EventLog
from router.reparsing import Reparsing
from router.store import Store
from tests.clocks import StillClock
from tests.entries import NOON, append, make_entry
from tests.posting import StubSource

DAY = 86_400.0

KINDS: Mapping[str, EventType] = {"messages": "message", "receipts": "read"}


def split_once(body: bytes) -> Sequence[Draft]:
    """Split ``body`` as the shop's adapter did at first."""
    return [draft for draft in split_now(body) if draft.type == "message"]


def split_now(body: bytes) -> Sequence[Draft]:
    """Split ``body`` as the shop's adapter does since it was corrected."""
    data = json.loads(body)
    return [
        Draft(
            path=f"$.{kind}[{at}]",
            type=KINDS[kind],
            subtype=kind,
            channel="49",
            conversation=element["from"],
            external_id=element["id"],
            occurred_at=datetime.fromtimestamp(element["at"], UTC),
            natural_key=(kind, element["id"]),
        )
        for kind in KINDS
        for at, element in enumerate(data.get(kind, []))
    ]


def make_body(number: int, *, receipts: Sequence[int] = (), messages: bool = True) -> bytes:
    """Return a body with a message of this number, and the receipts of others."""
    ids = {
        "messages": [f"m{number}"] if messages else [],
        "receipts": [f"r{at}" for at in receipts],
    }
    data = {
        kind: [{"id": id_, "from": f"c{number % 7}", "at": 1_700_000_000 + number} for id_ in found]
        for kind, found in ids.items()
    }
    return json.dumps(data).encode()


def make_stored(number: int, body: bytes | None = None, *, source: str = "shop") -> Entry:
    """Return a notification as the shop's adapter split it at first; each came an hour later."""
    body = make_body(number, receipts=[number]) if body is None else body
    received_at = NOON + timedelta(hours=number)
    return Entry(Notification(source, received_at, {}, body), split_once(body))


def make_redelivered(number: int) -> Entry:
    """Return the same elements in another body, as the corrected adapter splits it live."""
    body = make_body(number, receipts=[number]) + b" "
    return Entry(Notification("shop", NOON, {}, body), split_now(body))


def fill(log: EventLog, count: int) -> None:
    """Append so many notifications as they came at first: each with a receipt that was missed."""
    for start in range(1, count + 1, 500):
        log.append([make_stored(at) for at in range(start, min(start + 500, count + 1))])


def make_reparsing(log: EventLog) -> Reparsing:
    """Return what splits again what the shop sent; it does not wait between transactions."""
    source = StubSource("shop", splits=split_now)
    return Reparsing(log, {"shop": source}, sleep=lambda _: None)


def reparse(log: EventLog, *, deliver: bool = False) -> dict[str, int]:
    """Append all that was missed, and return how many events, by type."""
    reparsing = make_reparsing(log)
    with reparsing.planned("shop") as plan:
        return dict(reparsing.append(plan, by="ana", deliver=deliver).by_type)


def read_flags(log: EventLog) -> dict[int, tuple[bool, bool]]:
    """Return by position whether an event is ``reparsed`` and ``quiet``, where it is either."""
    event = log.store.tables.event.c
    query = select(event.position, event.reparsed, event.quiet).order_by(event.position)
    with log.store.reading() as connection:
        rows = connection.execute(query.where(event.reparsed | event.quiet)).all()
    return {row.position: (row.reparsed, row.quiet) for row in rows}


def forget(log: EventLog, clock: StillClock) -> None:
    """Let the dedupe memory forget all that is in it: both of its generations."""
    for _ in range(3):
        clock.now += 31 * DAY
        append(log, make_entry())
        while log.dedupe.rotate():
            pass


def externals(log: EventLog) -> Counter[str | None]:
    """Count the events by what the shop calls them."""
    return Counter(event.external_id for event in log.read())


def count(store: Store, table: str) -> int:
    """Count the rows of a table."""
    counted = select(func.count()).select_from(getattr(store.tables, table))
    with store.reading() as connection:
        return connection.scalars(counted).one()
