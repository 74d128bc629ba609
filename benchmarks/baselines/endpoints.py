"""What the endpoints share: one route, the check of a signature, and the id of a message."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ROUTE = "/webhooks/wa"
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
Store = Callable[[Request, bytes], Awaitable[None]]


def bare(_place: str, _secret: bytes) -> Starlette:
    """Read the body and answer: nothing is verified or parsed, nothing kept."""

    async def receive(request: Request) -> Response:
        await request.body()
        return Response()

    return Starlette(routes=[Route(ROUTE, receive, methods=["POST"])])


def make_endpoint(store: Store, *, secret: bytes, lifespan: Lifespan | None = None) -> Starlette:
    """Return an application that verifies a body, if there is a ``secret``, and stores it."""

    async def receive(request: Request) -> Response:
        body = await request.body()
        if secret and not _is_genuine(body, request, secret):
            return Response(status_code=401)
        await store(request, body)
        return Response()

    return Starlette(routes=[Route(ROUTE, receive, methods=["POST"])], lifespan=lifespan)


def _is_genuine(body: bytes, request: Request, secret: bytes) -> bool:
    wanted = "sha256=" + hmac.digest(secret, body, hashlib.sha256).hex()
    return hmac.compare_digest(wanted, request.headers.get("x-hub-signature-256", ""))


class _Message(msgspec.Struct):
    id: str


class _Value(msgspec.Struct):
    messages: list[_Message]


class _Change(msgspec.Struct):
    value: _Value


class _Entry(msgspec.Struct):
    changes: list[_Change]


class _Body(msgspec.Struct):
    entry: list[_Entry]


_decode = msgspec.json.Decoder(_Body).decode


def read_id(body: bytes) -> str:
    """Return the id of the one message of a notification of the Cloud API."""
    return _decode(body).entry[0].changes[0].value.messages[0].id
