"""Lanes on record: who may run what, and how far it has come."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    delete,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from router import claims
from router.claims import LIVE, Rows
from router.fence import ANY, make_fence
from router.kind import Kind
from router.lane import LEASE_MICROS, Key, Lane, LeaseLost, Place, Uptime
from router.progress import dump_ranges, load_ranges
from router.shares import count_left, find_surplus
from router.store import Store


class Lanes:
    """What one worker process asks of the table lane.

    Args:
        store: The database.
        worker: Its id, by which it owns them.
    """

    def __init__(self, store: Store, *, worker: str) -> None:
        self.worker = worker
        self._store = store
        self._tables = store.tables
        self._update = make_fence(store.tables.lane)

    def claim(
        self,
        subscriptions: Sequence[str],
        *,
        held: Collection[Key] = (),
        leaving: Collection[Place] = (),
    ) -> list[Lane]:
        """Take the free and the expired lanes of ``subscriptions`` and return them.

        A replay's lane goes to the owner of the live lane of the same shards alone, who can see
        to it that no subject is handled twice at a time.

        Args:
            subscriptions: Their names.
            held: The keys of the lanes that this worker runs: one that has expired, but that
                nobody else has taken, is still its own.
            leaving: The live lanes that it gives back: replays are not to begin in them.
        """
        with self._store.reading() as connection:
            if not self._find_free(connection, subscriptions, held, leaving):
                return []  # the usual case costs no write
        with self._store.writing(Kind.LEASE) as connection:
            rows = self._find_free(connection, subscriptions, held, leaving, locking=True)
            head = connection.scalars(select(self._tables.head.c.position)).one()
            taken = [self._take(connection, row, head=head) for row in rows]
            return [lane for lane in taken if lane is not None]

    def find_surplus(self, subscriptions: Sequence[str]) -> set[Place]:
        """Return the live lanes that this worker owns beyond its share, for others to have."""
        with self._store.reading() as connection:
            left = count_left(
                connection, self._tables, subscriptions, self.worker, now=self._store.now()
            )
            return find_surplus(connection, self._tables, left, self.worker)

    def renew(self, held: Collection[Key] | None = None) -> set[Key]:
        """Prolong what this worker holds, and return the key of each.

        Args:
            held: The keys of the lanes that it still runs; None is all that it owns. What it owns
                and does not run is left to expire, for whoever comes first.
        """
        lane, worker = self._tables.lane, self._tables.worker
        key = (lane.c.subscription, lane.c.run, lane.c.first_shard, lane.c.epoch)
        mine = select(*key).where(lane.c.owner == self.worker)
        with self._store.writing(Kind.LEASE) as connection:
            owned: set[Key] = {_key_in(row) for row in connection.execute(mine)}
            # A transaction that writes to a lane prolongs it by itself.
            idle = connection.execute(mine.with_for_update(skip_locked=True))
            now = self._store.now()
            kept = owned if held is None else owned.intersection(held)
            due = kept.intersection(_key_in(row) for row in idle)
            prolong = update(lane).values(expires_at=now + LEASE_MICROS)
            if due == owned:  # the usual case, one statement however many there are
                connection.execute(prolong.where(lane.c.owner == self.worker))
            else:
                for name, run, first_shard, epoch in due:
                    this = [*_key(lane.c, name, run, first_shard), lane.c.epoch == epoch]
                    connection.execute(prolong.where(*this))
            connection.execute(update(worker).where(worker.c.id == self.worker).values(seen_at=now))
            return kept

    @contextmanager
    def owning(
        self,
        lane: Lane,
        *,
        checkpoint: int,
        done: Sequence[tuple[int, int]],
        is_clear: bool = True,
        uptime: Uptime | None = None,
        idle: float | None = None,
    ) -> Iterator[Connection]:
        """Yield a transaction of the lane's owner, which also records how far it has come.

        It does not wait for the disk: what a power cut undoes, effects and progress at once, is
        delivered again.

        Args:
            lane: The owner's.
            checkpoint: Settled up to here.
            done: Inclusive ranges settled above it.
            is_clear: Whether nothing below the checkpoint is left of what may have ended the
                processes of former owners. If the checkpoint has moved, too, or there was nothing
                above it, their end is forgotten.
            uptime: What it was and is to be; None takes whatever is on record.
            idle: Seconds that it may stand still, while a handler computes; None is as usual.

        Raises:
            LeaseLost: Somebody else owns the lane by now, or its record is another one; nothing is
                changed.
        """
        with self._store.writing(Kind.OWN, idle=idle) as connection:
            self.record(
                connection,
                lane,
                checkpoint=checkpoint,
                done=done,
                is_clear=is_clear,
                uptime=uptime,
            )
            yield connection

    def next_uptime(self, lane: Lane, *, above: int) -> int:
        """Return for how long ``lane`` has been run by now, but more than ``above``."""
        return max(above + 1, lane.uptime_at(self._store.now()))

    def record(
        self,
        connection: Connection,
        lane: Lane,
        *,
        checkpoint: int,
        done: Sequence[tuple[int, int]],
        is_clear: bool = True,
        uptime: Uptime | None = None,
    ) -> None:
        """Record within the owner's transaction how far it has come; see `owning`.

        Raises:
            LeaseLost: Somebody else owns the lane by now, or its record is another one; nothing may
                be changed.
        """
        # What ended an owner above its checkpoint keeps the checkpoint from moving in the end.
        is_past = is_clear and (checkpoint > lane.checkpoint or checkpoint >= lane.head)
        now = self._store.now()
        before, after = uptime or (ANY, lane.uptime_at(now))
        row = {
            "new_checkpoint": checkpoint,
            "new_done": dump_ranges(list(done)),
            "new_expiry": now + LEASE_MICROS,
            "new_uptime": after,
            "new_takeovers": 0 if is_past else lane.takeovers,
        }
        key = {"name": lane.subscription, "of_run": lane.run, "first": lane.first_shard}
        mine = {**key, "of_epoch": lane.epoch, "of_owner": lane.owner}
        mine["uptime_before"] = before
        if connection.execute(self._update, {**mine, **row}).rowcount == 0:
            raise LeaseLost(
                f"the lane {lane.subscription} {lane.range} has another owner, or what was last"
                " written of it is not what is on record"
            )

    def release(self, lane: Lane) -> None:
        """Give one lane back."""
        table = self._tables.lane
        with self._store.writing(Kind.LEASE) as connection:
            connection.execute(
                update(table)
                .where(*_key_of(table.c, lane), table.c.epoch == lane.epoch)
                .where(table.c.owner == self.worker)
                .values(owner=None, expires_at=None)
            )

    def remove(self, lane: Lane, connection: Connection) -> None:
        """Strike off a replay's lane that has come to its end."""
        table = self._tables.lane
        connection.execute(delete(table).where(*_key_of(table.c, lane)))

    def _find_free(
        self,
        connection: Connection,
        subscriptions: Sequence[str],
        held: Collection[Key],
        leaving: Collection[Place],
        *,
        locking: bool = False,
    ) -> Rows:
        """Return what is free, but no more live lanes than this worker's share."""
        found = claims.find_free(
            connection,
            self._tables,
            subscriptions,
            self.worker,
            now=self._store.now(),
            locking=locking,
        )
        free = [
            row
            for row in found
            if _key_in(row) not in held and (row.subscription, row.first_shard) not in leaving
        ]
        if not any(row.run == LIVE for row in free):
            return free
        left = count_left(
            connection, self._tables, subscriptions, self.worker, now=self._store.now()
        )
        taken = []
        for row in free:
            if row.run == LIVE:
                left[row.subscription] -= 1
            if row.run != LIVE or left[row.subscription] >= 0:
                taken.append(row)
        return taken

    def _take(
        self, connection: Connection, row: Row[*tuple[Any, ...]], *, head: int
    ) -> Lane | None:
        """Become the owner of a lane; None if somebody else was quicker."""
        # Whoever had settled everything did not fall silent over an event.
        is_suspect = row.checkpoint < head or claims.has_more_to_do(connection, self._tables, row)
        lane = Lane(
            subscription=row.subscription,
            run=row.run,
            first_shard=row.first_shard,
            last_shard=row.last_shard,
            epoch=row.epoch + 1,
            checkpoint=row.checkpoint,
            done=load_ranges(row.done),
            uptime=row.uptime,
            takeovers=row.takeovers + (row.owner is not None) if is_suspect else 0,
            head=head,
            claimed_at=self._store.now(),
            owner=self.worker,
        )
        table = self._tables.lane
        took = connection.execute(
            update(table)
            .where(*_key_of(table.c, lane), table.c.epoch == row.epoch)
            .values(
                owner=self.worker,
                epoch=lane.epoch,
                expires_at=lane.claimed_at + LEASE_MICROS,
                takeovers=lane.takeovers,
            )
        )
        return lane if took.rowcount else None


def _key_in(row: Row[*tuple[Any, ...]]) -> Key:
    return row.subscription, row.run, row.first_shard, row.epoch


def _key_of(columns: Any, lane: Lane) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return _key(columns, lane.subscription, lane.run, lane.first_shard)


def _key(columns: Any, name: str, run: int, first_shard: int) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [
        columns.subscription == name,
        columns.run == run,
        columns.first_shard == first_shard,
    ]
