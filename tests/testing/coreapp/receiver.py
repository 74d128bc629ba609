"""A receiver of notifications that does as it is told, and a Coreapp that sends to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.testing.coreapp import Coreapp, Rules
from router.testing.coreapp.hosting import hosting
from router.testing.shop import Mix, Shop
from router.tls import ServerTls

FAST = 1000.0  # times as fast as the real delays
PLAIN = Mix(duplicates=0, reorder=0, batch=0)


@dataclass(slots=True)
class Receiver:
    """Answers notifications, and keeps them.

    Attributes:
        answer: What the request of that number, from 0, is answered.
        bodies: What came, in order.
        headers: Of the requests, likewise.
        open: While it is cleared, requests wait.
        at_once: How many requests were there at the same time.
        most: The largest of these numbers.
    """

    answer: Callable[[int], int] = lambda _number: 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        status = self.answer(len(self.bodies) - 1)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.open.wait()
        self.at_once -= 1
        await Response(status_code=status)(scope, receive, send)


@asynccontextmanager
async def receiving(
    receiver: Receiver, *, certificate: ServerTls | None = None
) -> AsyncIterator[str]:
    """Run a receiver; yields its URL."""
    receiver.open.set()
    async with hosting(receiver, certificate=certificate) as address:
        try:
            yield f"{address}/webhooks/op"
        finally:
            receiver.open.set()


def make_coreapp(url: str, *, rules: Rules | None = None, **settings: object) -> Coreapp:
    """Return a Coreapp that sends to ``url``, without TLS and fast, with these settings."""
    webhooks = {"url": url, "message": {"sent": True}, **settings.pop("webhooks", {})}  # type: ignore[dict-item]
    return Coreapp(
        settings={"webhooks": webhooks, **settings},
        shop=Shop(shape="onprem", seed=1, mix=PLAIN),
        rules=rules or Rules(speed=FAST, allows_http=True),
    )
