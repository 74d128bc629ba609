"""The ledger of a simulation: what was sent, how often, and what was acknowledged."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from router.testing.shop.facts import Posting

State = Literal["waiting", "acknowledged", "expired", "lost"]


@dataclass(slots=True)
class Entry:
    """What is known of one notification.

    Attributes:
        number: Counts from 0 in the order of sending.
        copy_of: The number of the one that it repeats; None where it is new.
        body_hash: BLAKE2b-128 of its body.
        size: Bytes.
        events: The natural ids of the events in it; see `router.testing.shop.identify`.
        due: When it was to be sent first, in seconds of the event loop's clock.
        attempts: Attempts so far, those included that found nobody to send to.
        state: ``lost`` is what a Coreapp forgot when it restarted.
        reasons: Why attempts failed, each with how often.
        unanswered: Requests that were sent and got no answer, one that is under way included: if
            it is lost or given up after any, nobody knows whether the receiver has it.
        latency: Seconds from due to acknowledged.
    """

    number: int
    copy_of: int | None
    body_hash: bytes
    size: int
    events: tuple[str, ...]
    due: float
    attempts: int = 0
    state: State = "waiting"
    reasons: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    latency: float | None = None

    def as_line(self) -> Mapping[str, object]:
        """Return it as a ledger file holds it."""
        return {
            "number": self.number,
            "copy_of": self.copy_of,
            "body_hash": self.body_hash.hex(),
            "bytes": self.size,
            "events": self.events,
            "state": self.state,
            "attempts": self.attempts,
            "reasons": self.reasons,
            "unanswered": self.unanswered,
            "latency_ms": None if self.latency is None else round(self.latency * 1000, 3),
        }


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from due to acknowledged; None where nothing was."""

    p50: float | None
    p99: float | None
    max: float | None


class Summary(msgspec.Struct, frozen=True):
    """A ledger in figures.

    Attributes:
        notifications: How many there were, copies included.
        copies: Of them, those that repeat another.
        events: In those that are no copies.
        acknowledged: Answered 200.
        waiting: Neither acknowledged nor given up.
        expired: Given up, after their time.
        lost: Forgotten at a restart.
        attempts: Of all, those included that found nobody to send to.
        retried: Notifications that took more than one.
        failures: Why attempts failed, each with how often.
        bytes: Of all bodies, each once.
        latency_ms: Of the acknowledged.
        behind_ms: By how much the sender itself was late, at most.
        digest: SHA-256 over number and body hash of each: equal for equal traffic.
    """

    notifications: int
    copies: int
    events: int
    acknowledged: int
    waiting: int
    expired: int
    lost: int
    attempts: int
    retried: int
    failures: Mapping[str, int]
    bytes: int
    latency_ms: Latency
    behind_ms: float
    digest: str


class Count(NamedTuple):
    """How many notifications there are, in each state that matters while it runs."""

    sent: int
    acknowledged: int
    waiting: int


class Ledger:
    """Keeps account of a simulation.

    Args:
        file: Takes a line of JSON for each notification, once it is settled, the rest at `close`.
        keeps: Whether entries that are settled stay in `entries`; a long load has no room for them.

    Attributes:
        entries: By number.
        behind: Seconds by which the sender was late, at most.
    """

    def __init__(self, file: BinaryIO | None = None, *, keeps: bool = True) -> None:
        self.entries: dict[int, Entry] = {}
        self.behind = 0.0
        self._file = file
        self._keeps = keeps
        self._digest = hashlib.sha256()
        self._states: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._latencies = array("d")
        self._copies = self._events = self._attempts = self._retried = self._bytes = 0

    def open(self, posting: Posting, *, due: float) -> Entry:
        """Enter a notification that is about to be sent for the first time."""
        body_hash = hashlib.blake2b(posting.body, digest_size=16).digest()
        entry = Entry(
            posting.number,
            posting.copy_of,
            body_hash,
            len(posting.body),
            tuple(one.natural_id for one in posting.expected),
            due,
        )
        self.entries[entry.number] = entry
        self._digest.update(entry.number.to_bytes(8, "big") + body_hash)
        self._states["waiting"] += 1
        self._bytes += entry.size
        if entry.copy_of is None:
            self._events += len(entry.events)
        else:
            self._copies += 1
        return entry

    def try_(self, entry: Entry) -> None:
        """Count an attempt that begins."""
        entry.attempts += 1
        self._attempts += 1
        if entry.attempts == 2:
            self._retried += 1

    def fail(self, entry: Entry, reason: str) -> None:
        """Note why an attempt was no success."""
        entry.reasons[reason] += 1
        self._failures[reason] += 1

    def acknowledge(self, entry: Entry, *, now: float) -> None:
        """Note that it was answered 200."""
        entry.latency = now - entry.due
        self._latencies.append(entry.latency)
        self._settle(entry, "acknowledged")

    def expire(self, entry: Entry) -> None:
        """Note that it was given up."""
        self._settle(entry, "expired")

    def lose(self, entry: Entry) -> None:
        """Note that it was forgotten at a restart."""
        self._settle(entry, "lost")

    def find(self, state: State) -> Sequence[Entry]:
        """Return the entries that are in this state, in order, as far as they are kept."""
        return [
            self.entries[number]
            for number in sorted(self.entries)
            if self.entries[number].state == state
        ]

    def count(self) -> Count:
        """Return the most important figures, cheaply."""
        states = self._states
        return Count(sum(states.values()), states["acknowledged"], states["waiting"])

    def summarise(self) -> Summary:
        """Return the figures so far."""
        states = self._states
        return Summary(
            notifications=sum(states.values()),
            copies=self._copies,
            events=self._events,
            acknowledged=states["acknowledged"],
            waiting=states["waiting"],
            expired=states["expired"],
            lost=states["lost"],
            attempts=self._attempts,
            retried=self._retried,
            failures=dict(self._failures.most_common()),
            bytes=self._bytes,
            latency_ms=_measure(self._latencies),
            behind_ms=round(self.behind * 1000, 1),
            digest=self._digest.hexdigest(),
        )

    def close(self) -> None:
        """Write out what is not settled; the file itself is its owner's to close."""
        for entry in self.find("waiting"):
            self._write(entry)
        if self._file is not None:
            self._file.flush()
            self._file = None

    def _settle(self, entry: Entry, state: State) -> None:
        self._states[entry.state] -= 1
        self._states[state] += 1
        entry.state = state
        self._write(entry)
        if not self._keeps:
            self.entries.pop(entry.number, None)

    def _write(self, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry.as_line()) + b"\n")


def _measure(latencies: "array[float]") -> Latency:
    if not latencies:
        return Latency(None, None, None)
    ranked = sorted(latencies)
    last = len(ranked) - 1
    p50, p99, longest = (round(ranked[round(last * at)] * 1000, 2) for at in (0.5, 0.99, 1.0))
    return Latency(p50, p99, longest)
