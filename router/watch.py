"""How a worker's subscriptions stand: what operators want of them, and which of them fail."""

import logging
from collections.abc import Sequence

from router.alerts import Alerts
from router.claims import ACTIVE, MISSING, RUNNABLE
from router.events import Event
from router.roster import Roster

logger = logging.getLogger("router.dispatcher")

States = dict[str, tuple[str, str]]  # by name: the state, and the reason for it


class Watch:
    """Keeps an eye on the states of subscriptions, and tells of changes.

    Args:
        names: The subscriptions of this worker.
        roster: Where their states are on record.
        alerts: Told when one changes.
    """

    def __init__(self, names: Sequence[str], *, roster: Roster, alerts: Alerts) -> None:
        self._names = names
        self._roster = roster
        self._alerts = alerts
        self._states: States = {}
        self._failing: set[str] = set()  # whose breaker is open
        self._noted: set[str] = set()  # of which that is on record

    def note_breaker(self, name: str, *, is_open: bool) -> None:
        """Note whether the live delivery of a subscription fails."""
        if is_open != (name in self._failing):
            self._failing ^= {name}
            logger.warning("nearly every call of %r fails" if is_open else "%r works again", name)

    def tell_dead(self, name: str, event: Event, attempts: int, error: str) -> None:
        """Tell that a delivery of the subscription ``name`` was given up."""
        self._alerts.add("on_dead", event=event, subscription=name, attempts=attempts, error=error)

    def look(self) -> States:
        """Put on record which ones fail, and return how all stand; for a storage thread."""
        failing, states = set(self._failing), self._roster.states(self._names)
        # Also where somebody has resumed it since, or another worker's breaker has closed.
        opened = {name for name in failing if states.get(name, ("", ""))[0] == ACTIVE}
        closed = self._noted - failing
        for name in opened | closed:
            self._roster.note_breaker(name, is_open=name in failing)
        self._noted = failing
        return self._roster.states(self._names) if opened or closed else states

    def heed(self, states: States) -> list[str]:
        """Tell what has changed since the last time, and return the names of those to be stopped.

        Args:
            states: What `look` has found.
        """
        before, self._states = self._states, states
        stopped = []
        for name in self._names:
            state, reason = states.get(name, (MISSING, "it was forgotten"))
            if before.get(name, (state, ""))[0] != state:
                reason = reason or "its events are delivered"
                self._alerts.add(
                    "on_subscription_state", subscription=name, state=state, reason=reason
                )
            if state not in RUNNABLE:
                stopped.append(name)
        return stopped
