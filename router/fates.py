"""What has become of one event in each subscription, and why, read from the database alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, select

from router.claims import LIVE, MISSING, PAUSED, RUNNABLE
from router.errors import UnknownName
from router.events import as_rfc3339, from_micros
from router.filters import DeadFilter
from router.parking import ALONE, DEAD, RETRY, RUNNING
from router.store import Store
from router.tiling import Tile, read_tilings

State = Literal["done", "parked", "blocked", "skipped", "not matched", "waiting"]

_ACTS = ("subscriptions skip", "dead discard")


class Fate(msgspec.Struct, frozen=True):
    """What live delivery to one subscription has made of an event; replays are apart from it.

    Attributes:
        state: ``done``; ``parked``, if a call has failed; ``blocked``, if the event waits behind
            another one of its subject; ``skipped``, if it was passed over on purpose; ``not
            matched``, if the plugin has no handler for it; ``waiting``, if its turn is to come.
        why: The same in words, with what can be done.
        attempts: How often a handler was called and failed, as far as that is on record.
        next_at: When the next call is due; None where none is.
    """

    subscription: str
    state: State
    why: str
    attempts: int = 0
    next_at: datetime | None = None

    def as_dict(self) -> dict[str, object]:
        """The fate as JSON shows it."""
        return msgspec.structs.asdict(self) | {"next_at": as_rfc3339(self.next_at)}


def find_fates(store: Store, position: int) -> list[Fate]:
    """Return the fate of the event at ``position``, for each subscription in order of name.

    Raises:
        UnknownName: There is no such event.
    """
    tables = store.tables
    event, subscription = tables.event.c, tables.subscription
    columns = (event.position, event.type, event.subject, event.shard, event.quiet)
    with store.reading() as connection:
        row = connection.execute(select(*columns).where(event.position == position)).first()
        if row is None:
            raise UnknownName(f"there is no event at position {position}")
        owners = connection.execute(select(subscription).order_by(subscription.c.name)).all()
        return [_Case(connection, store, row, owner).judge() for owner in owners]


class _Case:
    """One event and one subscription."""

    def __init__(
        self,
        connection: Connection,
        store: Store,
        event: Row[*tuple[Any, ...]],
        subscription: Row[*tuple[Any, ...]],
    ) -> None:
        self._connection = connection
        self._store = store
        self._tables = store.tables
        self._event = event
        self._owner = subscription
        self._name: str = subscription.name

    def judge(self) -> Fate:
        """Return the fate: what is on record of the event itself comes first."""
        parked = self._find_parked(self._event.position)
        if parked is not None:
            return self._tell_parked(parked)
        types: Mapping[str, str] = json.loads(self._owner.types)
        if self._event.type not in types:
            handled = ", ".join(types) or "none"
            return self._tell("not matched", f"its plugin has no handler for this type: {handled}")
        if self._event.quiet:
            return self._tell(
                "skipped",
                "it was found by `router events reparse`, which live delivery passes over; "
                "a replay takes it",
            )
        if self._event.position <= self._owner.start_position:
            born = as_rfc3339(from_micros(self._owner.created_at))
            return self._tell(
                "skipped",
                f"the subscription began behind it: it was born at {born}, with a start behind "
                f"position {self._owner.start_position}; a replay takes it",
            )
        return self._judge_progress()

    def _judge_progress(self) -> Fate:
        blocked = self._tables.blocked.c
        at = self._connection.scalars(
            select(blocked.position).where(
                *self._mine(blocked), blocked.subject == self._event.subject
            )
        ).first()
        if at is not None and self._event.position > at:
            return self._tell("blocked", self._explain_blocked(at))
        tile = self._find_tile()
        if tile is None or not tile.has_settled(self._event.position):
            return self._tell("waiting", self._explain_waiting(tile))
        return self._tell_settled(tile)

    def _tell(self, state: State, why: str) -> Fate:
        return Fate(self._name, state, why)

    def _tell_parked(self, row: Row[*tuple[Any, ...]]) -> Fate:
        calls = "1 call" if row.attempts == 1 else f"{row.attempts} calls"
        if row.state == DEAD:
            again = f"router dead redrive --subscription {self._name} --position {row.position}"
            why = f"it is a dead letter, given up after {calls}: {row.error}; `{again}`"
            return Fate(self._name, "parked", why, row.attempts)
        if self._find_outcome(row) in (RUNNING, ALONE):
            why = f"call {row.attempts} is under way, after one that failed: {row.error}"
            return Fate(self._name, "parked", why, row.attempts)
        due = from_micros(row.next_at)
        why = f"{calls} failed, the next is due at {as_rfc3339(due)}: {row.error}"
        if self._owner.state not in RUNNABLE:
            why = f"{why}; but the subscription is {self._owner.state}"
        return Fate(self._name, "parked", why, row.attempts, due)

    def _tell_settled(self, tile: Tile) -> Fate:
        doubts = list(self._find_doubts())
        for is_certain, why in doubts:
            if is_certain:
                return self._tell("skipped", why)
        where = f"its lane has settled it, and all up to position {tile.checkpoint}"
        if self._event.position > tile.checkpoint:
            where = f"its lane has settled it, ahead of position {tile.checkpoint + 1}"
        unless = "".join(f"; unless {why}" for _, why in doubts)
        return self._tell("done", f"{where}{unless}")

    def _find_doubts(self) -> Iterator[tuple[bool, str]]:
        """Yield what operators did that may have settled it, and whether it surely has."""
        audit = self._tables.audit
        query = select(audit).where(audit.c.action.in_(_ACTS)).order_by(audit.c.id)
        rows = self._connection.execute(query)
        for row in rows:
            detail = json.loads(row.detail)
            when = f"by {row.actor} at {as_rfc3339(from_micros(row.at))}"
            if row.action == "dead discard" and self._is_discarded(detail.get("filter", {})):
                is_certain = bool(detail["filter"].get("positions"))
                yield is_certain, f"it was a dead letter that was discarded {when}"
            elif row.action == "subscriptions skip" and row.target == self._name:
                after, until = detail.get("from"), detail.get("to", 0)
                if self._event.position <= until and (after is None or detail.get("retries")):
                    yield False, f"it was passed over by a skip to position {until} {when}"
                elif after is not None and after < self._event.position <= until:
                    yield (
                        True,
                        f"a skip to position {until} {when} passed over all that was not done",
                    )

    def _is_discarded(self, written: Mapping[str, Any]) -> bool:
        which = msgspec.convert(written, DeadFilter)
        pairs: Sequence[tuple[object, Sequence[object]]] = (
            (self._name, which.subscriptions),
            (self._event.type, which.types),
            (self._event.subject, which.subjects),
            (self._event.position, which.positions),
        )
        return which.run == LIVE and all(not wanted or one in wanted for one, wanted in pairs)

    def _explain_blocked(self, at: int) -> str:
        parked = self._tables.parked.c
        row = self._connection.execute(
            select(parked.position, parked.state, parked.error)
            .where(
                *self._mine(parked),
                parked.subject == self._event.subject,
                parked.position < self._event.position,
            )
            .order_by(parked.state != RETRY, parked.position)
        ).first()
        if row is None:
            return f"its subject is worked off, from position {at} on"
        told = "is a dead letter, and on_dead is hold" if row.state == DEAD else "is tried again"
        return f"it waits behind position {row.position} of its subject, which {told}: {row.error}"

    def _explain_waiting(self, tile: Tile | None) -> str:
        state, reason = self._owner.state, self._owner.state_reason
        told = f" ({reason})" if reason else ""
        if state == PAUSED:
            way = f"`router subscriptions resume {self._name}` lets it go on"
            return f"the subscription is paused{told}: {way}"
        if state == MISSING:
            return f"the subscription is missing{told}: `router plugins list` shows what there is"
        if state not in RUNNABLE[:1]:
            return f"the subscription is {state}{told}"
        if not self._is_run():
            return "no worker runs its lane: start `router serve` or `router worker`"
        checkpoint = 0 if tile is None else tile.checkpoint
        return f"its worker has settled all up to position {checkpoint}, and comes to it"

    def _find_tile(self) -> Tile | None:
        tiles = read_tilings(self._connection, self._tables, self._name).get(LIVE, [])
        shard = self._event.shard
        return next((tile for tile in tiles if tile.first <= shard <= tile.last), None)

    def _is_run(self) -> bool:
        lane, shard = self._tables.lane.c, self._event.shard
        query = select(lane.owner).where(
            *self._mine(lane),
            lane.first_shard <= shard,
            lane.last_shard >= shard,
            lane.owner.is_not(None),
            lane.expires_at >= self._store.now(),
        )
        return self._connection.scalars(query).first() is not None

    def _find_parked(self, position: int) -> Row[*tuple[Any, ...]] | None:
        parked = self._tables.parked
        query = select(parked).where(*self._mine(parked.c), parked.c.position == position)
        return self._connection.execute(query).first()

    def _find_outcome(self, row: Row[*tuple[Any, ...]]) -> str | None:
        attempt = self._tables.attempt.c
        query = select(attempt.outcome).where(
            *self._mine(attempt),
            attempt.position == row.position,
            attempt.number == row.attempts,
        )
        return self._connection.scalars(query).first()

    def _mine(self, columns: Any) -> list[Any]:  # noqa: ANN401
        return [columns.subscription == self._name, columns.run == LIVE]
