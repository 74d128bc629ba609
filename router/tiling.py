"""How the lanes of a run are cut anew: what is settled of each event stays as it was, exactly."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from router.errors import RouterError
from router.events import SHARDS
from router.progress import dump_ranges, load_ranges
from router.schema import Tables

MOST_RANGES = 10_000  # settled above a checkpoint: an owner holds them all, and writes them down

Read = Callable[[int, int], Iterable[tuple[int, int]]]


class Behind(RouterError):
    """Lanes that become one have come so far apart that their progress cannot be put into one."""


class Tile(msgspec.Struct, frozen=True):
    """A range of shards, and how far it has come.

    Attributes:
        first: The first shard.
        last: The last shard.
        checkpoint: Settled up to here.
        done: Inclusive ranges settled above it, ascending.
        uptime: Microseconds for which it was run.
    """

    first: int
    last: int
    checkpoint: int
    done: Sequence[tuple[int, int]] = ()
    uptime: int = 0

    @property
    def end(self) -> int:
        """The position above which nothing is settled."""
        return max([self.checkpoint, *(last for _, last in self.done)])

    def has_settled(self, position: int) -> bool:
        """Whether it has settled what is at ``position``, if that is in its shards."""
        at = bisect_right(self.done, position, key=lambda span: span[0]) - 1
        return position <= self.checkpoint or (at >= 0 and position <= self.done[at][1])


Tilings = dict[int, list[Tile]]  # by run


def read_tilings(connection: Connection, tables: Tables, subscription: str) -> Tilings:
    """Return how far the lanes of each run have come on record, in the order of their shards."""
    lane = tables.lane.c
    names = (lane.first_shard, lane.last_shard, lane.checkpoint, lane.done, lane.uptime)
    query = select(lane.run, *names).where(lane.subscription == subscription)
    found: Tilings = {}
    for run, first, last, checkpoint, done, uptime in connection.execute(
        query.order_by(lane.run, lane.first_shard)
    ):
        tile = Tile(first, last, checkpoint, sorted(load_ranges(done)), uptime)
        found.setdefault(run, []).append(tile)
    return found


def plan_tilings(
    connection: Connection, tables: Tables, tilings: Tilings, *, lanes: int
) -> Tilings:
    """Return so many tiles for each run; each event is settled in them exactly if it is now.

    A lane of a replay that has come to its end is gone; where it was there need be none.

    Raises:
        Behind: The tiles of a run have come too far apart.
    """
    event, replay = tables.event.c, tables.replay.c

    def read(after: int, until: int) -> Iterator[tuple[int, int]]:
        query = select(event.position, event.shard).order_by(event.position)
        query = query.where(event.position > after, event.position <= until)
        rows = connection.execution_options(yield_per=1_000).execute(query)
        return ((position, shard) for position, shard in rows)

    planned: Tilings = {}
    for run, tiles in tilings.items():
        end = connection.scalars(select(replay.to_position - 1).where(replay.id == run)).first()
        whole = fill(tiles, end=end or 0)
        fresh = retile(whole, lanes, read=read)
        planned[run] = [tile for tile in fresh if _overlapping(tiles, tile.first, tile.last)]
    return planned


def write_tilings(
    connection: Connection, tables: Tables, subscription: str, tilings: Tilings
) -> None:
    """Put new lanes in the place of the old ones; nobody owns them, and no former owner can."""
    lane = tables.lane
    mine = lane.c.subscription == subscription
    epoch = connection.scalars(select(func.max(lane.c.epoch)).where(mine)).one() or 0
    connection.execute(delete(lane).where(mine))
    rows = [
        {
            "subscription": subscription,
            "run": run,
            "first_shard": tile.first,
            "last_shard": tile.last,
            "checkpoint": tile.checkpoint,
            "done": dump_ranges(list(tile.done)),
            "epoch": epoch + 1,
            "takeovers": 0,
            "uptime": tile.uptime,
        }
        for run, tiles in tilings.items()
        for tile in tiles
    ]
    connection.execute(insert(lane), rows)


def cut(lanes: int) -> list[tuple[int, int]]:
    """Return the first and the last shard of each of so many lanes."""
    bounds = [SHARDS * at // lanes for at in range(lanes + 1)]
    return [(first, following - 1) for first, following in pairwise(bounds)]


def fill(tiles: Sequence[Tile], *, end: int) -> list[Tile]:
    """Return ``tiles`` with what is missing between them, which has settled all up to ``end``."""
    found: list[Tile] = []
    first = 0
    for tile in [*tiles, Tile(SHARDS, SHARDS, end)]:
        if tile.first > first:
            found.append(Tile(first, tile.first - 1, end, uptime=tile.uptime))
        found.append(tile)
        first = tile.last + 1
    return found[:-1]


def retile(old: Sequence[Tile], lanes: int, *, read: Read) -> list[Tile]:
    """Return so many tiles; each event is settled in them exactly if it is in ``old``.

    Args:
        old: Tiles of all shards, ascending.
        lanes: How many are wanted.
        read: Yields position and shard of the log's events behind one position and up to another,
            ascending.

    Raises:
        Behind: It would take more than `MOST_RANGES` ranges; says which lane is behind.
    """
    joints = [_Joint(first, last, _overlapping(old, first, last)) for first, last in cut(lanes)]
    apart = [joint for joint in joints if joint.is_apart]
    if apart:
        firsts = [joint.first for joint in joints]
        after = min(joint.checkpoint for joint in apart)
        until = max(joint.end for joint in apart)
        for position, shard in read(after, until):
            joints[bisect_right(firsts, shard) - 1].add(position, shard)
    return [joint.as_tile() for joint in joints]


def _overlapping(tiles: Sequence[Tile], first: int, last: int) -> list[Tile]:
    return [tile for tile in tiles if tile.first <= last and tile.last >= first]


class _Joint:
    """What becomes of the tiles that a new one lies over."""

    def __init__(self, first: int, last: int, parts: Sequence[Tile]) -> None:
        self.first = first
        self.last = last
        self.checkpoint = min(tile.checkpoint for tile in parts)
        self.end = max(tile.end for tile in parts)
        self.is_apart = any(
            (tile.checkpoint, tile.done) != (parts[0].checkpoint, parts[0].done) for tile in parts
        )
        self._parts = parts
        self._firsts = [tile.first for tile in parts]
        self._spans: list[list[int]] = []
        self._is_open = False  # whether the last span may be continued
        if not self.is_apart:
            self._spans = [[first, last] for first, last in parts[0].done]

    def add(self, position: int, shard: int) -> None:
        """Take account of the next event, as far as that makes a difference here."""
        if not (self.is_apart and self.checkpoint < position <= self.end):
            return
        part = self._parts[bisect_right(self._firsts, shard) - 1]
        is_settled = part.has_settled(position)
        if is_settled and self._is_open:
            self._spans[-1][1] = position  # what lies between is of other shards, or of no event
        elif is_settled:
            self._require_room()
            self._spans.append([position, position])
        self._is_open = is_settled

    def as_tile(self) -> Tile:
        return Tile(
            self.first,
            self.last,
            self.checkpoint,
            [(first, last) for first, last in self._spans],
            min(tile.uptime for tile in self._parts),
        )

    def _require_room(self) -> None:
        if len(self._spans) < MOST_RANGES:
            return
        slow = min(self._parts, key=lambda tile: tile.checkpoint)
        raise Behind(
            f"the lane of the shards {slow.first} to {slow.last} has come to position "
            f"{slow.checkpoint}, others to {self.end}, and what they have settled would take more "
            f"than {MOST_RANGES} ranges to write down: let it catch up first"
        )
