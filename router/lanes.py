"""Lanes on record: who may run what, and how far it has come."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    String,
    Table,
    Update,
    bindparam,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from router import claims
from router.claims import Rows
from router.errors import RouterError
from router.events import SHARDS
from router.progress import dump_ranges, load_ranges
from router.store import Store

LEASE_MICROS = 6_000_000
SUSPECT_TAKEOVERS = 2

Key = tuple[str, int, int, int]  # subscription, run, first shard, epoch


class LeaseLost(RouterError):
    """Another process runs the lane now: whatever this one still does must leave no trace."""


class Lane(msgspec.Struct, frozen=True):
    """The right to run a range of shards of a subscription, until it expires.

    Attributes:
        run: 0 for live delivery, else the replay's id.
        epoch: Counts the owners; a former one's writes change nothing.
        checkpoint: Settled up to here when the lane was claimed.
        done: Inclusive ranges settled above it.
        uptime: Microseconds for which former owners ran it, as far as they wrote them down.
        takeovers: How often in a row owners fell silent over what they had to do.
        claimed_at: In microseconds since 1970.
        head: Of the log, when it was claimed.
        owner: The worker that claimed it.
    """

    subscription: str
    run: int
    first_shard: int
    last_shard: int
    epoch: int
    checkpoint: int
    done: list[tuple[int, int]]
    uptime: int = 0
    takeovers: int = 0
    claimed_at: int = 0
    head: int = 0
    owner: str = ""

    @property
    def key(self) -> Key:
        """What tells this right from all others: subscription, run, first shard and epoch."""
        return self.subscription, self.run, self.first_shard, self.epoch

    @property
    def is_suspect(self) -> bool:
        """Whether an event in it may have ended the processes of its last owners."""
        return self.takeovers >= SUSPECT_TAKEOVERS

    def uptime_at(self, moment: int) -> int:
        """Return for how long it has been run at a ``moment`` of this owner's time."""
        return self.uptime + max(0, moment - self.claimed_at)

    @property
    def shards(self) -> tuple[int, int] | None:
        """The range of shards, or None where it is all of them."""
        whole = (0, SHARDS - 1)
        return None if (self.first_shard, self.last_shard) == whole else self.range

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last shard."""
        return self.first_shard, self.last_shard


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
        self._update = _make_update(store.tables.lane)

    def claim(self, subscriptions: Sequence[str], *, held: Collection[Key] = ()) -> list[Lane]:
        """Take the free and the expired lanes of ``subscriptions`` and return them.

        A replay's lane goes to the owner of the live lane of the same shards alone, who can see
        to it that no subject is handled twice at a time.

        Args:
            subscriptions: Their names.
            held: The keys of the lanes that this worker runs: one that has expired, but that
                nobody else has taken, is still its own.
        """
        with self._store.reading() as connection:
            if not self._find_free(connection, subscriptions, held):
                return []  # the usual case costs no write
        with self._store.writing() as connection:
            rows = self._find_free(connection, subscriptions, held)
            head = connection.scalars(select(self._tables.head.c.position)).one()
            taken = [self._take(connection, row, head=head) for row in rows]
            return [lane for lane in taken if lane is not None]

    def renew(self, held: Collection[Key] | None = None) -> set[Key]:
        """Prolong what this worker holds, and return the key of each.

        Args:
            held: The keys of the lanes that it still runs; None is all that it owns. What it owns
                and does not run is left to expire, for whoever comes first.
        """
        lane, worker = self._tables.lane, self._tables.worker
        mine = select(lane.c.subscription, lane.c.run, lane.c.first_shard, lane.c.epoch).where(
            lane.c.owner == self.worker
        )
        with self._store.writing() as connection:
            now = self._store.now()
            owned: set[Key] = {tuple(row) for row in connection.execute(mine)}
            kept = owned if held is None else owned.intersection(held)
            prolong = update(lane).values(expires_at=now + LEASE_MICROS)
            if kept == owned:  # the usual case, one statement however many there are
                connection.execute(prolong.where(lane.c.owner == self.worker))
            else:
                for name, run, first_shard, epoch in kept:
                    key = [*_key(lane.c, name, run, first_shard), lane.c.epoch == epoch]
                    connection.execute(prolong.where(*key))
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

        Raises:
            LeaseLost: Somebody else owns the lane by now; nothing is changed.
        """
        with self._store.writing(lasting=False) as connection:
            self.record(connection, lane, checkpoint=checkpoint, done=done, is_clear=is_clear)
            yield connection

    def record(
        self,
        connection: Connection,
        lane: Lane,
        *,
        checkpoint: int,
        done: Sequence[tuple[int, int]],
        is_clear: bool = True,
    ) -> None:
        """Record within the owner's transaction how far it has come.

        Raises:
            LeaseLost: Somebody else owns the lane by now; nothing may be changed.
        """
        # What ended an owner above its checkpoint keeps the checkpoint from moving in the end.
        is_past = is_clear and (checkpoint > lane.checkpoint or checkpoint >= lane.head)
        row = {
            "new_checkpoint": checkpoint,
            "new_done": dump_ranges(list(done)),
            "new_uptime": lane.uptime_at(self._store.now()),
            "new_takeovers": 0 if is_past else lane.takeovers,
        }
        key = {"name": lane.subscription, "of_run": lane.run, "first": lane.first_shard}
        mine = {**key, "of_epoch": lane.epoch, "of_owner": lane.owner}
        if connection.execute(self._update, {**mine, **row}).rowcount == 0:
            raise LeaseLost(f"the lane {lane.subscription} {lane.range} has another owner")

    def release(self, lane: Lane) -> None:
        """Give one lane back."""
        table = self._tables.lane
        with self._store.writing() as connection:
            connection.execute(
                update(table)
                .where(*_key_of(table.c, lane), table.c.epoch == lane.epoch)
                .values(owner=None, expires_at=None)
            )

    def remove(self, lane: Lane, connection: Connection) -> None:
        """Strike off a replay's lane that has come to its end."""
        table = self._tables.lane
        connection.execute(delete(table).where(*_key_of(table.c, lane)))

    def _find_free(
        self, connection: Connection, subscriptions: Sequence[str], held: Collection[Key]
    ) -> Rows:
        now = self._store.now()
        found = claims.find_free(connection, self._tables, subscriptions, self.worker, now=now)
        return [
            row
            for row in found
            if (row.subscription, row.run, row.first_shard, row.epoch) not in held
        ]

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


def _make_update(table: Table) -> Update:
    """Return what records the progress of a lane; made once, it costs a tenth each time."""
    columns = table.c
    owner = bindparam("of_owner", type_=String)
    return (
        update(table)
        .where(
            columns.subscription == bindparam("name"),
            columns.run == bindparam("of_run"),
            columns.first_shard == bindparam("first"),
            columns.epoch == bindparam("of_epoch"),
            # A lane that was forgotten and is made anew counts its epochs from the start.
            or_(owner == "", columns.owner == owner),
        )
        .values(
            checkpoint=bindparam("new_checkpoint"),
            done=bindparam("new_done"),
            uptime=bindparam("new_uptime"),
            takeovers=bindparam("new_takeovers"),
        )
    )


def _key_of(columns: Any, lane: Lane) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return _key(columns, lane.subscription, lane.run, lane.first_shard)


def _key(columns: Any, name: str, run: int, first_shard: int) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [
        columns.subscription == name,
        columns.run == run,
        columns.first_shard == first_shard,
    ]
