"""Routers that receive and deliver to nobody, and what is asked of their answers."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Engine, func, select

from router import Router
from router.events import Event
from router.plugins.whatsapp import WhatsApp
from router.sources import Source
from tests.posting import Answer, StubSource

SECRET = "0123456789abcdef"
TOKEN = "a-verify-token"
LIMIT = 4 * 1024 * 1024


def signature(body: bytes, secret: str = SECRET) -> tuple[str, str]:
    """Return the header by which Meta proves who it is."""
    return "x-hub-signature-256", "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def whatsapp() -> WhatsApp:
    """Return a source that checks signatures."""
    return WhatsApp("wa", app_secrets=[SECRET], verify_token=TOKEN)


@asynccontextmanager
async def running(database: str | Engine, *sources: Source) -> AsyncIterator[Router]:
    """Run a router that receives and delivers to nobody."""
    async with Router(database, sources=sources or [StubSource()], delivers=False) as router:
        yield router


def stored(router: Router) -> int:
    """How many notifications are stored."""
    store = router.log.store
    with store.reading() as connection:
        query = select(func.count()).select_from(store.tables.notification)
        return connection.scalars(query).one()


def only(router: Router) -> Event:
    """The one event of the log."""
    [event] = router.log.read()
    return event


def assert_problem(answer: Answer, status: int, words: str) -> None:
    """Check that an answer is a problem document which says so and quotes no secret."""
    assert answer.status == status
    assert words in answer.problem["detail"]
    assert answer.problem["type"] == "about:blank"
    assert answer.problem["title"]
    for secret in (SECRET, TOKEN, "sha256="):
        assert secret not in answer.body.decode()
