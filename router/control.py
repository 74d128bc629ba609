"""What an operator does to a subscription: pause, resume, skip, rename, relane and forget."""

from typing import Final, Literal

import msgspec
from sqlalchemy import Connection, delete, select, update

from router import audit, rest
from router.backlog import Forgetting, Skipping, count_forgetting, count_skipping
from router.claims import ACTIVE, LIVE, MISSING, PAUSED
from router.errors import RouterError
from router.events import SHARDS
from router.intents import Intents
from router.replay_states import CANCELLED, FINISHED
from router.status import find_subscription
from router.store import Store
from router.tiling import plan_tilings, read_tilings, write_tilings

HEAD: Final = "head"

MOST_NAME = 255  # characters of a name


class Control:
    """Changes subscriptions on record; their workers learn of it there, within a second.

    Plain calls, each one transaction: in a coroutine write
    ``await asyncio.to_thread(router.control.pause, "crm", actor="ana")``. Each takes ``actor``,
    who wants it, and ``reason``, both for the record, and raises `UnknownName` for a subscription
    that does not exist. Renaming, relaning and forgetting need one at rest, which no worker runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables
        self._intents = Intents(store)
        tables = store.tables
        self._parts = (tables.lane, tables.parked, tables.blocked, tables.attempt, tables.intent)

    def pause(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Hand nothing over any more; whether that is a change. What comes meanwhile waits.

        The calls under way end as ever, and then the lanes are given back: `is_at_rest`.
        """
        with self._store.writing() as connection:
            state = find_subscription(connection, self._tables, name).state
            if state == PAUSED:
                return False
            self._set_state(connection, name, PAUSED, reason=reason)
            self._write_down(connection, "pause", name, actor, {"reason": reason, "was": state})
            return True

    def resume(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Let a paused subscription go on where it stands; whether that is a change.

        Raises:
            RouterError: Its plugin is gone.
        """
        with self._store.writing() as connection:
            state = find_subscription(connection, self._tables, name).state
            if state == MISSING:
                raise RouterError(f"{name!r} cannot go on: {explain_missing(name)}")
            if state != PAUSED:
                return False
            self._set_state(connection, name, ACTIVE)
            self._write_down(connection, "resume", name, actor, {"reason": reason})
            return True

    def is_at_rest(self, name: str) -> bool:
        """Whether no worker runs any lane of it, live or of a replay."""
        with self._store.reading() as connection:
            find_subscription(connection, self._tables, name)
            now = self._store.now()
            return rest.find_owner(connection, self._tables, name, now=now) is None

    def require_rest(self, name: str) -> None:
        """Refuse a subscription that a worker runs.

        Raises:
            RouterError: Says which worker, and what to do.
        """
        with self._store.reading() as connection:
            self._require_rest(connection, name, locking=False)

    def plan_skip(self, name: str, *, to: int | Literal["head"]) -> Skipping:
        """Count what `skip` would pass over.

        Raises:
            RouterError: The log does not reach to that position.
        """
        with self._store.reading() as connection:
            find_subscription(connection, self._tables, name)
            head = connection.scalars(select(self._tables.head.c.position)).one()
            position = head if to == HEAD else to
            if not 0 <= position <= head:
                raise RouterError(
                    f"{name!r} cannot skip to position {position}: the log's last one is {head}"
                )
            return count_skipping(connection, self._tables, name, position=position)

    def skip(
        self, name: str, *, to: int | Literal["head"], actor: str, reason: str = ""
    ) -> Skipping:
        """Count all up to a position as settled, and return what is passed over.

        Retries up to there are dropped; dead letters stay, and so do replays.

        Raises:
            RouterError: The log does not reach to that position.
        """
        plan = self.plan_skip(name, to=to)
        if plan.is_empty:
            return plan
        detail = {"reason": reason, "to": plan.position, "total": plan.total}
        detail["from"] = plan.checkpoint
        with self._store.writing() as connection:
            find_subscription(connection, self._tables, name)
            asked = self._intents.ask(
                connection,
                subscription=name,
                run=LIVE,
                action="skip",
                actor=actor,
                position=plan.position,
            )
            self._write_down(connection, "skip", name, actor, detail | {"retries": plan.retries})
        return msgspec.structs.replace(plan, is_pending=not asked.is_carried_out)

    def rename(self, old: str, new: str, *, actor: str, reason: str = "") -> None:
        """Give all that is on record of one subscription to a plugin of another name.

        Raises:
            RouterError: There is one of the new name, or a worker runs the old one.
        """
        tables = self._tables
        if not 0 < len(new) <= MOST_NAME:
            raise RouterError(f"{new!r} cannot be a name: it needs 1 to {MOST_NAME} characters")
        with self._store.writing() as connection:
            state = self._require_rest(connection, old)
            table = tables.subscription
            if connection.scalars(select(table.c.name).where(table.c.name == new)).first():
                raise RouterError(
                    f"there is a subscription {new!r} already: if it was born by mistake, forget "
                    f"it first: router subscriptions forget {new}"
                )
            rename = update(table).where(table.c.name == old)
            connection.execute(rename.values(name=new))
            for part in (*self._parts, tables.replay):
                moved = update(part).where(part.c.subscription == old)
                connection.execute(moved.values(subscription=new))
            rest.fence(connection, tables, new)
            if state == MISSING:  # that the new plugin is missing, too, nobody has found yet
                self._set_state(connection, new, ACTIVE)
            self._write_down(connection, "rename", old, actor, {"reason": reason, "to": new})

    def relane(self, name: str, lanes: int, *, actor: str, reason: str = "") -> int:
        """Cut a subscription and its replays into so many lanes; how many there were.

        Each event is settled exactly if it was before.

        Args:
            name: Of the subscription.
            lanes: From 1 to `router.events.SHARDS`.
            actor: Who wants it.
            reason: Why.

        Raises:
            RouterError: A worker runs it, or its lanes have come too far apart to be put together.
        """
        if not 1 <= lanes <= SHARDS:
            raise RouterError(f"a subscription has 1 to {SHARDS} lanes, not {lanes}")
        while True:
            with self._store.reading() as connection:  # for long, maybe: others go on writing
                self._require_rest(connection, name, locking=False)
                before = read_tilings(connection, self._tables, name)
                after = plan_tilings(connection, self._tables, before, lanes=lanes)
            with self._store.writing() as connection:
                self._require_rest(connection, name)
                if read_tilings(connection, self._tables, name) != before:
                    continue  # somebody has run it meanwhile
                count = len(before.get(LIVE, ()))
                if count != lanes:
                    write_tilings(connection, self._tables, name, after)
                    detail = {"reason": reason, "from": count, "to": lanes}
                    self._write_down(connection, "relane", name, actor, detail)
                return count

    def plan_forget(self, name: str) -> Forgetting:
        """Count what `forget` would delete."""
        with self._store.reading() as connection:
            find_subscription(connection, self._tables, name)
            return count_forgetting(connection, self._tables, name)

    def forget(self, name: str, *, actor: str, reason: str = "") -> Forgetting:
        """Delete all that is on record of a subscription, and return how much that was.

        Its replays stay as history; those that have not ended are cancelled.

        Raises:
            RouterError: A worker runs it.
        """
        tables = self._tables
        with self._store.writing() as connection:
            self._require_rest(connection, name)
            gone = count_forgetting(connection, tables, name)
            cancel = update(tables.replay).where(
                tables.replay.c.subscription == name, tables.replay.c.state.not_in(FINISHED)
            )
            connection.execute(cancel.values(state=CANCELLED, finished_at=self._store.now()))
            connection.execute(
                delete(tables.subscription).where(tables.subscription.c.name == name)
            )
            for part in self._parts:
                connection.execute(delete(part).where(part.c.subscription == name))
            detail = {"reason": reason, "lag": gone.lag, "dead": gone.dead, "retries": gone.retries}
            self._write_down(connection, "forget", name, actor, detail)
            return gone

    def _require_rest(self, connection: Connection, name: str, *, locking: bool = True) -> str:
        """Return the state of a subscription that no worker runs."""
        state: str = find_subscription(connection, self._tables, name).state
        now = self._store.now()
        rest.require_rest(connection, self._tables, name, state=state, now=now, locking=locking)
        return state

    def _set_state(
        self, connection: Connection, name: str, state: str, *, reason: str = ""
    ) -> None:
        table = self._tables.subscription
        change = update(table).where(table.c.name == name)
        connection.execute(change.values(state=state, state_reason=reason or None))

    def _write_down(
        self, connection: Connection, action: str, name: str, actor: str, detail: dict[str, object]
    ) -> None:
        audit.record(
            connection,
            self._store,
            actor=actor,
            action=f"subscriptions {action}",
            target=name,
            detail=detail,
        )


def explain_missing(name: str) -> str:
    """Return why a subscription is missing, and what can be done."""
    return (
        "no worker has its plugin. Install the plugin again, give what is on record to another one "
        f"with `router subscriptions rename {name} NEW`, or give it up with "
        f"`router subscriptions forget {name}`"
    )
