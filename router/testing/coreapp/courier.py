"""The courier: posts notifications to the callback until each is acknowledged or given up."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from router.testing.coreapp.connections import Connection, connect, explain
from router.testing.coreapp.ledger import Entry, Ledger
from router.testing.coreapp.outbox import Outbox
from router.testing.coreapp.routes import Route, Rules, make_route
from router.testing.coreapp.settings import Callback
from router.testing.shop.facts import Posting

_SWEEP = 0.1  # seconds between two looks for requests that take too long


@dataclass(slots=True)
class _Parcel:
    posting: Posting
    entry: Entry
    failures: int = 0
    is_kept: bool = False  # on disk


class Courier:
    """Posts notifications; lives in the running event loop.

    Args:
        ledger: Where all of it is entered.
        find_callback: Returns the settings in force; asked for each attempt.
        find_ca: Returns the PEM of authorities that are trusted beside the system's.
        rules: Everything else.
        outbox: Where notifications are kept while the settings say so; None keeps none.
        headers: Sent with each request, such as credentials.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        find_callback: Callable[[], Callback],
        find_ca: Callable[[], str] = str,
        rules: Rules | None = None,
        outbox: Outbox | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.ledger = ledger
        self._find_callback = find_callback
        self._find_ca = find_ca
        self._rules = rules or Rules()
        self._outbox = outbox
        self._headers = headers or {}
        self._loop = asyncio.get_running_loop()
        self._ready: deque[_Parcel] = deque()
        self._parked: list[tuple[float, int, _Parcel]] = []
        self._busy: dict[Connection, tuple[_Parcel, Route]] = {}
        self._connecting: dict[asyncio.Task[None], _Parcel] = {}
        self._route = make_route("", "", {}, allows_http=False)
        self._ties = count()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._sweep: asyncio.TimerHandle | None = self._loop.call_later(_SWEEP, self._look)
        self._changed = asyncio.Event()

    @property
    def unsettled(self) -> int:
        """Notifications that are neither acknowledged nor given up."""
        return len(self._ready) + len(self._parked) + len(self._busy) + len(self._connecting)

    def submit(self, posting: Posting, *, due: float | None = None) -> Entry:
        """Send a notification as soon as there is a place for it.

        Args:
            posting: The notification.
            due: When it was to be sent, by the loop's clock; latencies count from there.
        """
        entry = self.ledger.open(posting, due=self._loop.time() if due is None else due)
        parcel = _Parcel(posting, entry)
        if self._outbox is not None and self._find_callback().persist:
            self._outbox.put(posting)
            parcel.is_kept = True
        self._ready.append(parcel)
        self._proceed()
        return entry

    async def wait_below(self, limit: int) -> None:
        """Wait until fewer than ``limit`` notifications are unsettled."""
        while self.unsettled >= limit:
            self._changed.clear()
            await self._changed.wait()

    def restart(self) -> None:
        """Drop all that is under way; go on with what is on disk, and enter the rest as lost."""
        parcels = self._drop()
        for parcel in parcels:
            if not parcel.is_kept:
                self.ledger.lose(parcel.entry)
        entries = {parcel.entry.number: parcel.entry for parcel in parcels if parcel.is_kept}
        for kept in self._outbox.load() if self._outbox else ():
            entry = entries.get(kept.posting.number)
            if entry is None:  # left by a process before this one
                entry = self.ledger.open(kept.posting, due=self._loop.time())
            self._ready.append(_Parcel(kept.posting, entry, kept.failures, is_kept=True))
        self._sweep = self._loop.call_later(_SWEEP, self._look)
        self._changed.set()
        self._proceed()

    def close(self) -> None:
        """Stop; what is unsettled stays so, on the ledger and on disk."""
        self._drop()

    def _drop(self) -> list[_Parcel]:
        """Break off everything, and return what was unsettled."""
        parcels = [*self._ready, *(parcel for *_, parcel in self._parked)]
        parcels += [*(parcel for parcel, _ in self._busy.values()), *self._connecting.values()]
        for task in self._connecting:
            task.cancel()
        for connection in self._busy:
            connection.abort()
        self._route.close()
        for timer in (self._timer, self._sweep):
            if timer is not None:
                timer.cancel()
        self._timer = self._sweep = None
        self._ready.clear()
        self._parked.clear()
        self._busy.clear()
        self._connecting.clear()
        return parcels

    def _proceed(self) -> None:
        """Send what is ready, as far as there is a place."""
        if not self._ready:
            return
        callback = self._find_callback()
        route = self._find_route(callback.url)
        while self._ready and len(self._busy) + len(self._connecting) < callback.concurrency:
            parcel = self._ready.popleft()
            self.ledger.try_(parcel.entry)
            if route.endpoint is None:
                self._fail(parcel, route.reason)
                continue
            connection = route.take_idle()
            if connection is not None:
                self._send(parcel, connection, route)
            else:
                task = self._loop.create_task(self._connect(parcel, route))
                self._connecting[task] = parcel
                task.add_done_callback(lambda done: self._connecting.pop(done, None))

    def _find_route(self, url: str) -> Route:
        key = (url, self._find_ca())
        if self._route.key != key:
            self._route.close()
            self._route = make_route(*key, self._headers, allows_http=self._rules.allows_http)
        return self._route

    async def _connect(self, parcel: _Parcel, route: Route) -> None:
        try:
            connection = await self._open(route)
        except (OSError, ValueError) as error:  # the latter for a host that can be no name
            self._leave()
            self._fail(parcel, explain(error))
            self._proceed()
            return
        self._leave()
        self._send(parcel, connection, route)

    async def _open(self, route: Route) -> Connection:
        if route.endpoint is None:
            raise ValueError(route.reason)
        limit = self._rules.timeout
        return await connect(route.endpoint, self._note, context=route.context, timeout=limit)

    def _leave(self) -> None:
        """Take the task that runs out of those that connect; its parcel has a new place."""
        task = asyncio.current_task()
        if task is not None:
            self._connecting.pop(task, None)

    def _send(self, parcel: _Parcel, connection: Connection, route: Route) -> None:
        if route.endpoint is None:  # such a route opens no connection
            return
        self._busy[connection] = (parcel, route)
        parcel.entry.unanswered += 1
        body, secret = parcel.posting.body, self._rules.secret
        connection.send(route.endpoint.write_request(body, secret=secret))

    def _note(self, connection: Connection, status: int | None, reason: str) -> None:
        """Take note of how a request ended."""
        parcel, route = self._busy.pop(connection)
        parcel.entry.unanswered -= status is not None
        if route is not self._route:  # the URL was changed meanwhile
            connection.abort()
        elif connection.is_open:
            route.idle.append(connection)
        if status == 200:
            self.ledger.acknowledge(parcel.entry, now=self._loop.time())
            if parcel.is_kept and self._outbox is not None:
                self._outbox.drop(parcel.posting.number)
            self._changed.set()
        else:
            self._fail(parcel, reason or f"answered {status}")
        self._proceed()

    def _fail(self, parcel: _Parcel, reason: str) -> None:
        """Park a notification until its next attempt, or give it up."""
        self.ledger.fail(parcel.entry, reason)
        parcel.failures += 1
        callback, rules, now = self._find_callback(), self._rules, self._loop.time()
        delay = callback.find_delay(parcel.failures) / rules.speed
        if now + delay - parcel.entry.due >= rules.expiry / rules.speed:
            self.ledger.expire(parcel.entry)
            if parcel.is_kept and self._outbox is not None:
                self._outbox.drop(parcel.posting.number)
            self._changed.set()
            return
        if parcel.is_kept and self._outbox is not None:
            self._outbox.note(parcel.posting.number, failures=parcel.failures)
        heapq.heappush(self._parked, (now + delay, next(self._ties), parcel))
        self._arm()

    def _arm(self) -> None:
        """Wake up for the first of the parked."""
        if self._parked and (self._timer is None or self._wakes_at > self._parked[0][0]):
            if self._timer is not None:
                self._timer.cancel()
            self._wakes_at = self._parked[0][0]  # uvloop's handles do not always know it
            self._timer = self._loop.call_at(self._wakes_at, self._release)

    def _release(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.001  # no finer than the loop's own timers
        while self._parked and self._parked[0][0] <= now:
            self._ready.append(heapq.heappop(self._parked)[2])
        self._arm()
        self._proceed()

    def _look(self) -> None:
        """Break off the requests that take too long."""
        self._sweep = self._loop.call_later(_SWEEP, self._look)
        end = self._loop.time() - self._rules.timeout
        for connection in [one for one in self._busy if one.since <= end]:
            connection.abort("time-out")
