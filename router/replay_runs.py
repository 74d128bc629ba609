"""What a worker does to the record of the replays that it carries out."""

import json
import time
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, exists, func, or_, select, update

from router import fresh_tables, replay_lanes
from router.errors import UnknownName
from router.kind import Kind
from router.lane import Lane
from router.replay_record import Replay, make_replay, select_replays
from router.replay_states import DONE, FAILED, FINISHED, OVER, PLANNED, RUNNING
from router.store import Store

SWEEP = 0.3  # seconds in which tables are done away with at a time
BREATH = 0.005  # seconds between two transactions


class ReplayRuns:
    """Takes replays up, counts what comes of them, and brings them to their end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables
        rebuilds = store.tables.replay.c.rebuilds
        self._has_tables = rebuilds.is_not(None) & (rebuilds != "[]")

    def take_up(self, subscriptions: Sequence[str]) -> bool:
        """Make the lanes of the replays that are planned for ``subscriptions``.

        What the owners of ended ones have left behind is cleared away.

        Returns:
            Whether rebuilds that have ended have left tables: see `sweep`.
        """
        table, lane = self._tables.replay, self._tables.lane
        is_left = table.c.state.in_(OVER) & exists().where(lane.c.run == table.c.id)
        is_left |= table.c.state.in_(FINISHED) & self._has_tables
        query = (
            select(table)
            .where(table.c.subscription.in_(subscriptions))
            .where(or_(table.c.state == PLANNED, is_left))
            .order_by(table.c.id)
        )
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        if all(row.state == DONE for row in rows):
            return bool(rows)  # the usual case, that there are none, costs no write
        with self._store.writing() as connection:
            for row in connection.execute(query).all():
                if row.state == PLANNED:
                    self._begin(connection, row)
                elif row.state in OVER:
                    replay_lanes.clear(connection, self._store, row.id)
        return any(row.state in FINISHED and row.rebuilds for row in rows)

    def _begin(self, connection: Connection, row: Row[*tuple[Any, ...]]) -> None:
        replay_lanes.make(connection, self._store, row, after=row.from_position - 1)
        started = {"state": RUNNING, "started_at": self._store.now()}
        table = self._tables.replay
        connection.execute(update(table).where(table.c.id == row.id).values(**started))

    def sweep(self, subscriptions: Sequence[str]) -> None:
        """Do away, for a moment, with the tables that rebuilds which have ended have left."""
        table, lane = self._tables.replay, self._tables.lane
        query = select(table.c.id, table.c.rebuilds, table.c.state).where(
            table.c.subscription.in_(subscriptions),
            table.c.state.in_(FINISHED),
            self._has_tables,
            ~exists().where(lane.c.run == table.c.id),
        )
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        end = time.monotonic() + SWEEP
        for row in rows:
            names = fresh_tables.name_fresh(json.loads(row.rebuilds), row.id)
            while time.monotonic() < end:
                with self._store.writing(Kind.OWN) as connection:
                    replay_lanes.lock(connection, self._tables, row.id)  # lest two sweep
                    if fresh_tables.drop_some(connection, names, is_old=row.state == DONE):
                        if row.state == DONE:
                            fresh_tables.take_stock(connection, names)
                        over = update(table).where(table.c.id == row.id)
                        connection.execute(over.values(rebuilds="[]"))
                        break
                time.sleep(BREATH)  # others get their turn

    def find(self, number: int) -> Replay:
        """Return the replay of a lane."""
        query = select_replays(self._tables).where(self._tables.replay.c.id == number)
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise UnknownName(f"replay {number} is on record no more")
        return make_replay(row)

    def find_halted(self, numbers: Collection[int]) -> set[int]:
        """Return those of the replays that are not to be carried on now."""
        table = self._tables.replay.c
        if not numbers:
            return set()
        query = select(table.id).where(table.id.in_(numbers), table.state == RUNNING)
        with self._store.reading() as connection:
            return set(numbers) - set(connection.scalars(query))

    def finish(self, connection: Connection, lane: Lane) -> None:
        """Note that nothing of the run is left, if the ``lane`` just struck off was its last.

        Of a replay that was ended meanwhile, what its other lanes have left behind is cleared away.
        """
        table, lanes = self._tables.replay, self._tables.lane
        # Two last lanes come one after the other: each would take the other's for left.
        replay_lanes.lock(connection, self._tables, lane.run)
        left = select(func.count()).where(
            lanes.c.subscription == lane.subscription, lanes.c.run == lane.run
        )
        if connection.scalars(left).one() == 0:
            ended = {"state": DONE, "finished_at": self._store.now()}
            going_on = [table.c.id == lane.run, table.c.state.not_in(FINISHED)]
            if connection.execute(update(table).where(*going_on).values(**ended)).rowcount == 0:
                # It was ended before its time: what its other lanes have left goes with the last.
                replay_lanes.clear(connection, self._store, lane.run)

    def fail(self, number: int, why: str) -> None:
        """End a replay that must not be carried out any more."""
        table = self._tables.replay
        ended = {"state": FAILED, "finished_at": self._store.now(), "last_error": why}
        going_on = [table.c.id == number, table.c.state.not_in(FINISHED)]
        with self._store.writing() as connection:
            connection.execute(update(table).where(*going_on).values(**ended))
