"""Verdicts: what a failure means for its delivery and for the events behind it."""

import logging
from collections.abc import Callable

from router.agenda import Agenda
from router.breaker import Breaker
from router.clock import Clock
from router.events import Event
from router.failures import Failed
from router.lane import Lane
from router.options import Options
from router.parking import Parked
from router.retry import is_exhausted, next_delay

logger = logging.getLogger("router.delivery")

OnDead = Callable[[Event, int, str], None]


class Verdicts:
    """Says when a delivery is tried again, and lets everybody know who goes by it.

    Args:
        options: The subscription's.
        agenda: Where what is tried again waits.
        breaker: Hears how attempts end.
        on_dead: Told of each delivery that is given up: the event, attempts, and the error.
    """

    def __init__(
        self,
        options: Options,
        *,
        lane: Lane,
        agenda: Agenda,
        breaker: Breaker,
        clock: Clock,
        on_dead: OnDead,
    ) -> None:
        self._options = options
        self._lane = lane
        self._agenda = agenda
        self._breaker = breaker
        self._clock = clock
        self._on_dead = on_dead

    def judge(self, failed: Failed, parked: Parked, *, attempts: int, chance: float) -> int | None:
        """When the next attempt is due; None if there is none. The same whenever it is asked.

        Args:
            failed: How the last one failed.
            parked: The delivery.
            attempts: How many count.
            chance: A number from 0 to below 1.
        """
        policy, failure = self._options.retry, failed.failure
        ended_at = failure.started_at + int(failure.duration * 1_000_000)
        waited = (self._lane.uptime_at(ended_at) - parked.uptime) / 1_000_000
        if failed.is_final or is_exhausted(policy, attempts=attempts, waited=waited):
            return None
        delay = failed.after
        if delay is None:
            delay = next_delay(policy, attempts=attempts, random=lambda: chance)
        return ended_at + int(delay * 1_000_000)

    def must_wait(self, next_at: int | None) -> bool:
        """Whether the events behind a failed one of their subject wait."""
        if self._options.order == "none":
            return False
        return next_at is not None or self._options.on_dead == "hold"

    def is_spent(self, parked: Parked) -> bool:
        """Whether no attempt is left, though the last one has no end on record."""
        return parked.was_alone or parked.attempts - parked.spent >= self._options.retry.attempts

    def accept(self, number: int = 1) -> None:
        """Note that attempts have succeeded."""
        self._breaker.succeed(number)

    def blame(self, event: Event, failed: Failed) -> None:
        """Note that an attempt has failed, before that is on record: the breaker must be quick."""
        if not failed.is_final:  # what a handler refuses says nothing of how it fares
            self._breaker.fail(event.subject)

    def pronounce(self, parked: Parked, event: Event, failed: Failed) -> bool:
        """Go by what is on record of a failure; whether the subject waits."""
        name, position = self._lane.subscription, parked.position
        # Not what the handler said: it may hold a phone number. The error is on record.
        if parked.next_at is None:
            logger.error("%s: attempt %d at %d was the last", name, parked.attempts, position)
            self.bury(event, parked.attempts, failed.failure.error)
        else:
            pause = max(0.0, (parked.next_at - self._clock.now()) / 1_000_000)
            text = "%s: attempt %d at %d failed, the next one comes in %.1f s"
            logger.warning(text, name, parked.attempts, position, pause)
            self._agenda.add(parked)
        return self.must_wait(parked.next_at)

    def bury(self, event: Event, attempts: int, error: str) -> None:
        """Let it be known that a delivery was given up."""
        self._on_dead(event, attempts, error)


def make_parked(event: Event, failed: Failed, *, lane: Lane, next_at: int | None) -> Parked:
    """Return the delivery of ``event`` as it stands after its first attempt."""
    started_at = failed.failure.started_at
    return Parked(
        position=event.position,
        subject=event.subject,
        attempts=1,
        parked_at=started_at,
        next_at=next_at,
        uptime=lane.uptime_at(started_at),
    )
