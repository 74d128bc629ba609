"""What a handler knows of the call it is in, and what it may call out with."""

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from router.errors import RouterError
from router.log import EventLog

if TYPE_CHECKING:  # every command would load the HTTP client, and few need it
    import httpx2

    from router.exchanges import Exchange
    from router.outlet import Outlet


class Context(msgspec.Struct, frozen=True, dict=True):
    """What a handler may know about the call it is in, and what it may call out with.

    Attributes:
        attempt: Which call for this event this is: 1 for the first, live or in a replay.
        deadline: When the call is late, in UTC: an async handler is cancelled then, a sync one
            counts as failed once it returns.
        subscription: The name of the subscription that is delivered to.
        log: The log, to read from: `Event`s before or after this one.
        settings: The table ``[plugins.NAME]`` as the type that the hook `settings` returned.
        outlet: Where ``http`` leads; None where nobody may be asked.
        exchanges: What was asked by ``http`` in this call so far, the last hundred.
    """

    attempt: int
    deadline: datetime
    subscription: str
    log: EventLog
    settings: Any = None
    outlet: "Outlet | None" = None
    exchanges: "list[Exchange]" = []

    @cached_property
    def http(self) -> "httpx2.Client":
        """A client for this call. An ``async def`` gets an `httpx2.AsyncClient`: `AsyncContext`.

        Redirections are not followed unless a request asks for it. Only public addresses can be
        reached, and what the setting ``[http] allow`` adds: for any other, `OutOfReach` is raised.
        """
        outlet = _require(self.outlet)
        deadline = self.deadline.timestamp()
        return outlet.open(self.exchanges, name=self.subscription, deadline=deadline)


class AsyncContext(Context, frozen=True):
    """What an ``async def`` may know and call out with."""

    @cached_property
    def http(self) -> "httpx2.AsyncClient":  # type: ignore[override]  # the same but for `await`
        """A client for this call, to be awaited: ``await context.http.post(url, json=…)``."""
        outlet = _require(self.outlet)
        deadline = self.deadline.timestamp()
        return outlet.open_async(self.exchanges, name=self.subscription, deadline=deadline)


def _require(outlet: "Outlet | None") -> "Outlet":
    if outlet is None:
        raise RouterError("this context was made by hand: give it an outlet to ask anybody")
    return outlet
