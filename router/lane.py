"""A lane as its owner holds it: the right to run a range of shards, and how far they have come."""

from typing import NamedTuple

import msgspec

from router.errors import RouterError
from router.events import SHARDS

LEASE_MICROS = 6_000_000
SUSPECT_TAKEOVERS = 2

Key = tuple[str, int, int, int]  # subscription, run, first shard, epoch
Place = tuple[str, int]  # a live lane's subscription and first shard


class LeaseLost(RouterError):
    """Another process runs the lane now, or what is on record is not what this one wrote last.

    Whatever it still does must leave no trace.
    """


class Uptime(NamedTuple):
    """How long a lane was run, in microseconds: it is also the mark of its owner's last write.

    A server that crashed may have lost a write that did not wait for the disk, and one whose answer
    was lost may have been committed. Its owner, which has outlived that, would go on from what is
    not so.

    Attributes:
        before: As this owner wrote it last.
        after: As it is to be with this write; no other write has the same.
    """

    before: int
    after: int


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
