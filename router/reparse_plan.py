"""What a reparse would append to the log, and what it has appended."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from router.candidates import Candidates


class Plan(msgspec.Struct, frozen=True, eq=False):
    """What would be appended, counted before anything is.

    Attributes:
        by_type: How many events the log does not know, by type.
        failed: How many notifications the adapter could not split; they are left as they are.
        failure: Where it failed with the first of these; nothing of what is in it.
        candidates: The events.
        seen: The position up to which the log does not know them.
    """

    source: str
    since: datetime | None
    until: datetime | None
    by_type: Mapping[str, int]
    failed: int
    failure: str
    candidates: Candidates
    seen: int

    @property
    def total(self) -> int:
        """How many events the log does not know."""
        return sum(self.by_type.values())


class Found(msgspec.Struct, frozen=True):
    """What was appended.

    Attributes:
        by_type: How many events, by type.
        first: The position of the first one; None where there is none.
        last: That of the last one. Between the two others may have come in.
    """

    by_type: Mapping[str, int]
    first: int | None = None
    last: int | None = None

    @property
    def total(self) -> int:
        """How many events."""
        return sum(self.by_type.values())
