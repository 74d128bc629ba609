"""Requests straight into a router's ASGI application, signed as their source demands."""

from collections.abc import Mapping
from functools import cache

import httpx2
from starlette.types import ASGIApp

from router import bodies
from router.plugins.whatsapp import WhatsApp
from router.sources import Source

Body = bytes | str | Mapping[str, object] | list[object]

SECRET = "the-secret-of-an-app-that-does-not-exist"  # noqa: S105 - and so there is nothing to keep


@cache
def make_whatsapp(name: str) -> WhatsApp:
    """Return the source that a harness has unless it is given another one: it wants signatures."""
    return WhatsApp(name, app_secrets=[SECRET], verify_token=SECRET)


def as_bytes(body: Body) -> bytes:
    """Return a body as it is sent."""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else bodies.encode(body)


async def post(
    app: ASGIApp, source: Source, body: bytes, *, headers: Mapping[str, str]
) -> httpx2.Response:
    """Send one notification to ``app`` and return its answer."""
    signed = source.sign(body)
    path = "/".join(filter(None, ("/webhooks", source.name, signed.secret)))
    sent = {"content-type": "application/json", **signed.headers, **headers}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://router.test") as client:
        return await client.post(path, content=body, headers=sent)
