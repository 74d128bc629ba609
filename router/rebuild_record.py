"""What a worker does to the record of a rebuild, and the switch that ends it."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from router import audit, fresh_tables
from router.claims import LIVE
from router.parking import DEAD
from router.progress import load_ranges
from router.replay_states import DONE, PAUSED, RUNNING
from router.store import Store

logger = logging.getLogger("router.rebuilds")

Rows = Mapping[int, Row[*tuple[Any, ...]]]  # of the table lane, by the first shard


class Switched(msgspec.Struct, frozen=True):
    """What a switch has done on record.

    Attributes:
        checkpoint: The lowest of the lanes from then on.
        dropped: How many failed deliveries of the old tables there were; the new ones have them.
    """

    checkpoint: int
    dropped: int


class RebuildRecord:
    """What is on record of the rebuilds that a worker delivers.

    Args:
        store: The database.
        worker: The id of this worker.
    """

    def __init__(self, store: Store, *, worker: str) -> None:
        self._store = store
        self._tables = store.tables
        self._worker = worker

    def may_switch(self, name: str, run: int) -> bool:
        """Whether nothing is in the way; where dead letters are, the rebuild is paused."""
        lane, parked = self._tables.lane.c, self._tables.parked.c
        of_others = select(func.count()).where(
            lane.subscription == name,
            lane.run.in_((LIVE, run)),
            func.coalesce(lane.owner, "") != self._worker,
        )
        # What an operator has asked for is no news to him.
        failed = select(parked.state, func.count()).where(parked.run == run)
        failed = failed.where(parked.intent.is_(None)).group_by(parked.state)
        with self._store.reading() as connection:
            is_shared = connection.scalars(of_others).one() > 0
            states = {row[0]: row[1] for row in connection.execute(failed)}
            may = not self._has_failed(connection, run)
        if is_shared:
            self.tell(run, "several workers run its lanes: it ends when one runs all of them")
        elif set(states) == {DEAD}:
            self._pause(run, states[DEAD])
        return may and not is_shared

    def tell(self, run: int, why: str) -> None:
        """Write down why a rebuild does not come to its end yet, unless that is there already."""
        table = self._tables.replay
        is_news = table.c.last_error.is_distinct_from(why)
        running = update(table).where(table.c.id == run, table.c.state == RUNNING, is_news)
        with self._store.writing() as connection:
            connection.execute(running.values(last_error=why))

    def find_end(self, name: str) -> int:
        """Return the last position that live delivery has settled in any lane."""
        with self._store.reading() as connection:
            rows = self._read_lanes(connection, name, LIVE).values()
        ends = [last for row in rows for _, last in load_ranges(row.done)]
        return max([*ends, *(int(row.checkpoint) for row in rows)])

    def switch(self, name: str, run: int, *, goal: int) -> Switched | None:
        """Put the new tables in the place of the old; live lanes go on where the rebuild has come.

        Args:
            name: Of the subscription.
            run: The rebuild's id.
            goal: How far it must have come.

        Returns:
            What was done; None if something has come in between, and nothing was.
        """
        tables = self._tables
        replay = tables.replay
        with self._store.writing() as connection:
            row = connection.execute(select(replay).where(replay.c.id == run)).one()
            old, new = (
                self._read_lanes(connection, name, one, locking=True) for one in (LIVE, run)
            )
            is_free = all(one.owner is None for one in (*old.values(), *new.values()))
            is_whole = all(one.checkpoint >= goal for one in new.values())
            if row.state != RUNNING or old.keys() != new.keys() or not (is_free and is_whole):
                return None
            if self._has_failed(connection, run):
                return None
            fresh_tables.put_in_place(
                connection, fresh_tables.name_fresh(json.loads(row.rebuilds), run)
            )
            dropped = self._drop_failures(connection, name)
            self._move_lanes(connection, name, run, new)
            ended = {"state": DONE, "finished_at": self._store.now(), "last_error": None}
            ended["total"] = replay.c.done + replay.c.failed
            connection.execute(update(replay).where(replay.c.id == run).values(**ended))
        return Switched(min(one.checkpoint for one in new.values()), dropped)

    def write_down(self, name: str, run: int, switched: Switched, *, halted: int) -> None:
        """Tell in the log and in the audit how a rebuild ended.

        Args:
            name: Of the subscription.
            run: The rebuild's id.
            switched: What was done.
            halted: Milliseconds for which live delivery was halted.
        """
        text = "rebuild %d of %r is live from position %d on; live delivery was halted for %d ms"
        logger.info(text, run, name, switched.checkpoint, halted)
        with self._store.writing() as connection:
            audit.record(
                connection,
                self._store,
                actor=f"worker {self._worker}",
                action="rebuild switch",
                target=f"replay {run} of {name}",
                detail=msgspec.to_builtins(switched) | {"halted_ms": halted},
            )

    def _has_failed(self, connection: Connection, run: int) -> bool:
        """Whether anything of a rebuild waits, or was given up."""
        return any(
            connection.scalars(select(table.c.position).where(table.c.run == run).limit(1)).first()
            for table in (self._tables.parked, self._tables.blocked)
        )

    def _pause(self, run: int, dead: int) -> None:
        """Leave it to the operator what becomes of events that the new tables would lack."""
        table = self._tables.replay
        why = (
            f"{dead} {'event' if dead == 1 else 'events'} failed, and the old tables stay: see "
            f"`router dead list --replay {run}`, redrive or discard them, then `router replay "
            f"resume {run}`"
        )
        logger.error("rebuild %d is paused: %s", run, why)
        with self._store.writing() as connection:
            running = update(table).where(table.c.id == run, table.c.state == RUNNING)
            connection.execute(running.values(state=PAUSED, last_error=why))

    def _read_lanes(
        self, connection: Connection, name: str, run: int, *, locking: bool = False
    ) -> Rows:
        lane = self._tables.lane
        query = select(lane).where(lane.c.subscription == name, lane.c.run == run)
        if locking:  # lest a worker claim one a moment later
            query = query.with_for_update()
        return {row.first_shard: row for row in connection.execute(query)}

    def _drop_failures(self, connection: Connection, name: str) -> int:
        """Forget what failed on the way into the old tables, and return how much that was."""
        tables = self._tables
        dropped = 0
        for table in (tables.blocked, tables.attempt, tables.intent, tables.parked):
            mine = delete(table).where(table.c.subscription == name, table.c.run == LIVE)
            dropped = connection.execute(mine).rowcount
        return dropped

    def _move_lanes(self, connection: Connection, name: str, run: int, new: Rows) -> None:
        """Let the live lanes go on where those of the rebuild have come; these are struck off."""
        lane = self._tables.lane
        for first, row in new.items():
            live = [lane.c.subscription == name, lane.c.run == LIVE, lane.c.first_shard == first]
            come = {"checkpoint": row.checkpoint, "done": row.done, "takeovers": 0}
            come["epoch"] = lane.c.epoch + 1
            connection.execute(update(lane).where(*live).values(**come))
        connection.execute(delete(lane).where(lane.c.run == run))
