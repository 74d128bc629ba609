"""What is told of dead letters: each with its attempts, in groups by error, and in numbers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from router.events import as_rfc3339, from_micros


class DeadLetter(msgspec.Struct, frozen=True):
    """A delivery that was given up.

    Attributes:
        type: Of the event.
        subject: Of the event.
        attempts: How often a handler was called with it.
        error: What the last call raised.
        parked_at: When the first call failed.
    """

    subscription: str
    position: int
    type: str
    subject: str
    attempts: int
    error: str
    parked_at: datetime

    def as_dict(self) -> dict[str, object]:
        """The dead letter as every JSON output shows it."""
        return msgspec.structs.asdict(self) | {"parked_at": as_rfc3339(self.parked_at)}


class Attempt(msgspec.Struct, frozen=True):
    """One call of a handler that did not succeed.

    Attributes:
        number: 1 for the first.
        duration: Seconds; None for one whose end nobody saw.
        outcome: ``failed``, ``timed out``, ``rejected``, ``retry``; ``running`` or ``alone`` where
            its end is not on record.
        traceback: Where in the handler it failed.
    """

    number: int
    started_at: datetime
    duration: float | None
    outcome: str
    error: str | None
    traceback: str | None

    def as_dict(self) -> dict[str, object]:
        """The attempt as every JSON output shows it."""
        return msgspec.structs.asdict(self) | {"started_at": as_rfc3339(self.started_at)}


class Group(msgspec.Struct, frozen=True):
    """The dead letters of one subscription that failed in the same way.

    Attributes:
        first_parked_at: When the first of them failed for the first time.
        last_parked_at: When the last of them did.
        position: Of one of them, as an example: the lowest.
    """

    subscription: str
    error: str
    count: int
    first_parked_at: datetime
    last_parked_at: datetime
    position: int

    def as_dict(self) -> dict[str, object]:
        """The group as every JSON output shows it."""
        return msgspec.structs.asdict(self) | {
            "first_parked_at": as_rfc3339(self.first_parked_at),
            "last_parked_at": as_rfc3339(self.last_parked_at),
        }


class Counts(msgspec.Struct, frozen=True):
    """How many dead letters a command takes, which are none that an earlier one has taken.

    Attributes:
        by_type: By the type of the event.
        is_carried_out: Whether nothing is left to do; else the workers that own the lanes do it
            within about a second.
    """

    by_type: Mapping[str, int]
    is_carried_out: bool = True

    @property
    def total(self) -> int:
        """How many in all."""
        return sum(self.by_type.values())

    def as_dict(self) -> dict[str, object]:
        """The counts as every JSON output shows them."""
        return {"total": self.total, "by_type": dict(self.by_type)}


def make_letter(row: Row[*tuple[Any, ...]]) -> DeadLetter:
    """Return the dead letter of a row of the table parked."""
    return DeadLetter(
        subscription=row.subscription,
        position=row.position,
        type=row.type,
        subject=row.subject,
        attempts=row.attempts,
        error=row.error,
        parked_at=from_micros(row.parked_at),
    )


def make_attempt(row: Row[*tuple[Any, ...]]) -> Attempt:
    """Return the attempt of a row of the table attempt."""
    return Attempt(
        number=row.number,
        started_at=from_micros(row.started_at),
        duration=row.duration,
        outcome=row.outcome,
        error=row.error,
        traceback=row.traceback,
    )
