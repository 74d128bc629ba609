"""The roster: who works, and for which subscriptions; what state each of these is in."""

import json
import socket
import uuid
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from router.claims import ACTIVE, FAILING, LIVE, MISSING, RUNNABLE
from router.lane import LEASE_MICROS
from router.options import Options
from router.store import Store
from router.tiling import cut

FORGOTTEN_MICROS = 86_400_000_000  # after which a worker that is not seen any more is struck off


class Roster:
    """What one worker process asks of the tables worker and subscription.

    Args:
        store: The database.
        pid: Of the process.

    Attributes:
        worker: Its id.
    """

    def __init__(self, store: Store, *, pid: int) -> None:
        self.worker = str(uuid.uuid4())
        self._store = store
        self._tables = store.tables
        self._pid = pid

    def enrol(self, subscriptions: Sequence[str] = ()) -> list[str]:
        """Write this process down as a worker, and strike off those long gone.

        Args:
            subscriptions: What it has plugins for.

        Returns:
            The subscriptions on record that neither this nor any other living worker has a plugin
            for: they are ``missing`` from now on.
        """
        worker = self._tables.worker
        with self._store.writing() as connection:
            now = self._store.now()
            connection.execute(delete(worker).where(worker.c.seen_at < now - FORGOTTEN_MICROS))
            connection.execute(
                insert(worker).values(
                    id=self.worker,
                    host=socket.gethostname(),
                    pid=self._pid,
                    started_at=now,
                    seen_at=now,
                    subscriptions=json.dumps(list(subscriptions)),
                )
            )
            return self._mark_missing(connection)

    def _mark_missing(self, connection: Connection) -> list[str]:
        subscription, worker = self._tables.subscription, self._tables.worker
        alive = worker.c.seen_at >= self._store.now() - LEASE_MICROS
        offers = connection.scalars(select(worker.c.subscriptions).where(alive))
        offered = {name for offer in offers for name in json.loads(offer)}
        names = connection.scalars(
            select(subscription.c.name).where(subscription.c.state.in_(RUNNABLE))
        )
        missing = sorted(set(names) - offered)
        gone = {"state": MISSING, "state_reason": "no worker has loaded a plugin of that name"}
        for name in missing:
            connection.execute(
                update(subscription).where(subscription.c.name == name).values(**gone)
            )
        return missing

    def states(self, subscriptions: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the state of each of the ``subscriptions``, and the reason for it."""
        table = self._tables.subscription
        query = select(table.c.name, table.c.state, table.c.state_reason)
        with self._store.reading() as connection:
            rows = connection.execute(query.where(table.c.name.in_(subscriptions)))
            return {row.name: (row.state, row.state_reason or "") for row in rows}

    def note_breaker(self, name: str, *, is_open: bool) -> None:
        """Let everybody see whether nearly every call of a subscription fails."""
        table = self._tables.subscription
        old, new = (ACTIVE, FAILING) if is_open else (FAILING, ACTIVE)
        reason = "nearly every call fails: only what has failed is tried again" if is_open else None
        with self._store.writing() as connection:
            connection.execute(
                update(table)
                .where(table.c.name == name, table.c.state == old)
                .values(state=new, state_reason=reason)
            )

    def leave(self) -> None:
        """Give all lanes back and strike this process off, at the end of a clean stop."""
        lane, worker = self._tables.lane, self._tables.worker
        with self._store.writing() as connection:
            free = update(lane).where(lane.c.owner == self.worker)
            connection.execute(free.values(owner=None, expires_at=None, takeovers=0))
            connection.execute(delete(worker).where(worker.c.id == self.worker))

    def declare(self, name: str, policies: Mapping[str, str], options: Options) -> None:
        """Bring a subscription into being, or note what its plugin wants by now.

        It is born with the start position and the lanes of its options, which later changes of the
        options leave as they are.

        Args:
            name: Of the subscription.
            policies: What a replay does, by each event type that it handles.
            options: Its options.
        """
        subscription, head = self._tables.subscription, self._tables.head
        wants = {
            "types": json.dumps(dict(policies)),
            "options": msgspec.json.encode(options).decode(),
        }
        with self._store.writing() as connection:
            mine = update(subscription).where(subscription.c.name == name)
            if connection.execute(mine.values(**wants)).rowcount:
                back = mine.where(subscription.c.state.in_((MISSING, FAILING)))
                connection.execute(back.values(state=ACTIVE, state_reason=None))
                return
            start = 0
            if options.start == "now":
                start = connection.scalars(select(head.c.position)).one()
            connection.execute(
                insert(subscription).values(
                    name=name,
                    created_at=self._store.now(),
                    start_position=start,
                    state=ACTIVE,
                    **wants,
                )
            )
            lanes = options.lanes or self._store.lanes
            tile(connection, self._store, name, run=LIVE, after=start, lanes=lanes)


def tile(
    connection: Connection, store: Store, subscription: str, *, run: int, after: int, lanes: int
) -> None:
    """Make the lanes of a run: ``lanes`` contiguous ranges that cover all shards."""
    rows = [
        {
            "subscription": subscription,
            "run": run,
            "first_shard": first,
            "last_shard": last,
            "checkpoint": after,
            "done": "[]",
            "epoch": 0,
            "takeovers": 0,
        }
        for first, last in cut(lanes)
    ]
    connection.execute(insert(store.tables.lane), rows)
