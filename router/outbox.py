"""What a host appends by itself: notifications and events of its own, in its own transactions."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypedDict, Unpack

from sqlalchemy import Connection

from router.errors import RouterError, UnknownName
from router.events import Draft, Entry, Event, Notification, from_micros
from router.log import EventLog
from router.options import explain_unknown
from router.receiver import is_credential, split
from router.rows import Appended
from router.sources import Source


class AppendOptions(TypedDict, total=False):
    """How a host's own notification is appended.

    Attributes:
        connection: Of a transaction that the host has begun on the log's database, as part of which
            it is appended: it is in the log when that is committed, and never was when it is rolled
            back. Default: a transaction of the router's own, which is committed at once.
        events: What is in the body; default: what the source of that name finds there.
        headers: Are kept beside the body, but for those that carry credentials; default: none.
    """

    connection: Connection | None
    events: Sequence[Draft] | None
    headers: Mapping[str, str]


class Outbox:
    """Appends what a host hands over. Nothing is verified: the host vouches for it.

    Args:
        log: Where it goes.
        sources: By name; each knows what is in a body of its own.
        on_append: Called with new events once they are committed, where that is known.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        sources: Mapping[str, Source],
        on_append: Callable[[Sequence[Event]], None],
    ) -> None:
        self._log = log
        self._sources = sources
        self._on_append = on_append

    def append(self, source: str, body: bytes, **how: Unpack[AppendOptions]) -> Appended:
        """Append a notification; it waits for the database.

        In a transaction of the host's this is the last statement: until that has ended, nobody else
        can append. In an asynchronous one: ``await connection.run_sync(lambda own: router.append(
        ..., connection=own))``.

        Args:
            source: The name of a source of this router; any other name, where ``events`` are given.
            body: Kept byte for byte.
            how: See `AppendOptions`: the transaction, and what is in the body.

        Returns:
            Which events are new, and how many the log knew already.

        Raises:
            Unavailable: The database does not take it now; a host's transaction may go on.
            StoreError: It can never be stored, or the transaction does not keep what the log
                promises; says what to do.
            Unreadable: The body is not in the source's format.
            UnknownName: There is no such source.
        """
        connection = how.get("connection")
        entry = self._make_entry(source, body, how.get("events"), how.get("headers", {}))
        (appended,) = self._log.append([entry], connection=connection)
        if connection is None and appended.events:
            self._tell(appended.events)
        return appended

    def _make_entry(
        self,
        source: str,
        body: bytes,
        events: Sequence[Draft] | None,
        headers: Mapping[str, str],
    ) -> Entry:
        if events is None:
            if source not in self._sources:
                unknown = explain_unknown(source, self._sources)
                raise UnknownName(f"the source {source!r} {unknown}: name one, or give `events`")
            events = split(self._sources[source], body)
        lower = {name.lower(): value for name, value in headers.items()}
        kept = {name: value for name, value in lower.items() if not is_credential(name)}
        received_at = from_micros(self._log.store.now())
        tracing = self._log.tracing
        trace = None if tracing is None else tracing.find_context()
        return Entry(Notification(source, received_at, kept, body, trace=trace), events)

    def _tell(self, events: Sequence[Event]) -> None:
        self._on_append(events)
        if self._log.store.has_wakeups:
            with suppress(RouterError):  # others find them by themselves
                self._log.store.announce()
