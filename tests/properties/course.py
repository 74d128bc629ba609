"""The course of one run as its plugin sees it: each call, and whether it should have been made."""

from collections import defaultdict

from router.events import Event


class Course:
    """The calls of one run, live or a replay.

    Args:
        limit: How many calls an event gets.
        is_ordered: Whether the calls of a subject come in the order of the log.

    Attributes:
        done: The events for which a call has succeeded, in the order in which the first did.
        over: The positions of those that need nothing more.
        rejected: The positions of those that the plugin wants no more.
        redriven: The positions of those that operators sent again.
        broken: What the router should not have done.
        calls: How many there were.
        is_paused: Whether no call may be made.
    """

    def __init__(self, *, limit: int, is_ordered: bool) -> None:
        self.done: dict[int, str] = {}
        self.over: set[int] = set()
        self.rejected: set[int] = set()
        self.redriven: set[int] = set()
        self.broken: list[str] = []
        self.calls = 0
        self.is_paused = False
        self._limit = limit
        self._limits: dict[int, int] = {}  # of what was redriven
        self._failed: dict[int, int] = {}  # attempts that each event has had
        self._is_ordered = is_ordered
        self._settled: set[int] = set()
        self._retries: set[tuple[int, int]] = set()
        self._seen: dict[str, list[int]] = defaultdict(list)  # in the order of their first calls
        self._firsts: set[int] = set()  # in this life
        self._last: dict[str, int] = {}  # in this life

    def begin_life(self, settled: set[int], given_up: set[int]) -> None:
        """Note what another worker finds settled on record, and given up."""
        self._settled = settled
        self.over |= given_up
        self._firsts, self._last = set(), {}

    def limit_of(self, position: int) -> int:
        """How many calls for an event there may be."""
        return self._limits.get(position, self._limit)

    def redrive(self, position: int, *, attempts: int) -> None:
        """Note that an event is sent again after so many ``attempts``."""
        self._limits[position] = attempts + self._limit
        self.redriven.add(position)
        self.over.add(position)  # its subject has gone on without it, or waits all the same
        self._settled.discard(position)

    def begin(self, event: Event, attempt: int, *, is_again: bool = False) -> None:
        """Note a call, and whether it should not be made, or not yet, or not any more.

        Args:
            event: What it is about.
            attempt: Its number.
            is_again: Whether a transaction with calls may have come to nothing in this life, so
                that it is made once more.
        """
        position = event.position
        self.calls += 1
        self.require(not self.is_paused, f"called while paused: {position}")
        self.require(position not in self._settled, f"settled on record: {position}")
        self.require(attempt <= self.limit_of(position), f"too many attempts: {position}")
        if attempt == 1:
            is_new = is_again or position not in self._firsts
            self.require(is_new, f"two first calls: {position}")
            self._firsts.add(position)
        else:
            call = (position, attempt)
            is_new = is_again or call not in self._retries
            self.require(is_new, f"an attempt made twice: {call}")
            self._retries.add(call)
        if self._is_ordered and position not in self.redriven:
            self._check_order(event, is_again=is_again)

    def succeed(self, event: Event) -> None:
        """Note that a call succeeds."""
        self.done.setdefault(event.position, event.subject)
        self.over.add(event.position)

    def fail(self, event: Event, attempt: int, *, is_rejected: bool) -> None:
        """Note that a call fails."""
        self._failed[event.position] = attempt
        if is_rejected:
            self.rejected.add(event.position)
        if is_rejected or attempt >= self.limit_of(event.position):
            self.over.add(event.position)

    def require(self, holds: object, otherwise: str) -> None:
        """Note what is broken unless all ``holds``; raising would be a failure like any other."""
        if not holds:
            self.broken.append(otherwise)

    def _check_order(self, event: Event, *, is_again: bool) -> None:
        position, seen = event.position, self._seen[event.subject]
        goes_on = is_again or position >= self._last.get(event.subject, 0)
        self.require(goes_on, f"went back: {position}")
        self._last[event.subject] = position
        if position not in seen:
            is_next = all(
                one < position and (one in self.over or (is_again and self._may_be_spent(one)))
                for one in seen
            )
            self.require(is_next, f"before its turn: {position}")
            seen.append(position)

    def _may_be_spent(self, position: int) -> bool:
        """Whether an event may have been given up in this life.

        The last attempt counts once it is on record, before it is made. Where the answer to that
        commit was lost, nobody knows whether it was made.
        """
        return self._failed.get(position, 0) + 1 >= self.limit_of(position)
