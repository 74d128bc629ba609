"""Routers that forward, as tests make them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from router import EventLog, Router
from router.host import Host
from router.plugins import forward
from router.testing.coreapp.hosting import hosting
from tests.plugins.receivers import SECRET, Service

HERE = ("127.0.0.1",)


def make_router(
    log: EventLog,
    url: str,
    *,
    allow: Sequence[str] = HERE,
    timeout: float = 30,
    first: float = 0.01,
    **settings: object,
) -> Router:
    """Return a router that forwards the whole log to ``url``."""
    configured = {"forward": {"url": url, "secret": SECRET, **settings}}
    host = Host.load(plugins=[forward], configured=configured, entry_points=())
    host.require_sound()
    retry = {"first": first, "factor": 1, "jitter": False, "attempts": 10_000}
    options = {"start": "beginning", "retry": retry, "timeout": timeout}
    return Router(
        log.store.engine,
        plugins=host,
        subscriptions={"forward": options},
        http_allow=allow,
        receives=False,
    )


@asynccontextmanager
async def forwarding(log: EventLog, service: Service, **how: Any) -> AsyncIterator[Router]:  # noqa: ANN401
    """Forward to a service while the block lasts."""
    async with hosting(service) as url, make_router(log, f"{url}/events", **how) as router:
        yield router
