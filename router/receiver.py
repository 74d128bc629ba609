"""HTTP in: a request is verified, split and appended before it is answered 200."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from router.errors import RouterError, StoreError, Unavailable, Unreadable, Unverified, trace
from router.events import Draft, Entry, Notification, Unsplit
from router.meters import Meters
from router.mounts import path_of, with_whole_path
from router.problems import ERROR_HANDLERS, TooLarge, find_reason, make_problem
from router.routes import make_mounts
from router.rows import Appended
from router.sources import Request, Source
from router.traced import trace_webhooks
from router.tracing import Tracing
from router.uploads import LARGE, Upload, Uploads
from router.writer import PATIENCE, Appender

PREFIX = "/webhooks/"
MALFORMED = (Draft(path="$", type="other", subtype="malformed"),)
NOT_STARTED = (
    "the router has not been started: give the application lifespan=router.lifespan, or wrap its "
    "own in `async with router:`"
)
NOT_HERE = (
    "this process takes no notifications: its router was made with receives=False, for others do"
)

_CREDENTIALS = re.compile(
    r"authorization|cookie|token|secret|passw|credential|api-?key|assertion|jwt"
)

logger = logging.getLogger("router.receiver")


class Receiver:
    """The ASGI application of the webhooks' route, and the probe for readiness.

    It stands below Starlette's layers on purpose: its routing, its two middlewares and its requests
    took a third of the processor time of a notification (`benchmarks/ingest`).

    Args:
        sources: By name.
        max_body: Bytes; counted while streaming, whatever Content-Length says.
        check: Raises `RouterError` while the log cannot be used; may block.
        clock: Seconds since 1970.
        meters: Count what comes in, and what is rejected.
        patience: Seconds that ``check`` may take.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        max_body: int,
        check: Callable[[], None],
        clock: Callable[[], float],
        meters: Meters | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._sources = sources
        self._max_body = max_body
        self._check = check
        self._clock = clock
        self._meters = meters or Meters()
        self._patience = patience
        self._uploads = Uploads()
        self._writer: Appender | None = None
        self._refusal = NOT_STARTED

    def open(self, writer: Appender) -> None:
        """Take notifications from now on, and hand them to ``writer``."""
        self._writer = writer
        self._uploads = Uploads()  # for the event loop that runs now

    def close(self, refusal: str = "the router is stopping") -> None:
        """Refuse notifications from now on, so that the provider sends them elsewhere or later."""
        self._writer = None
        self._refusal = refusal

    def require_open(self) -> Appender:
        """Return the writer while notifications are taken.

        Raises:
            Unavailable: The router has not been started, or is stopping.
        """
        if self._writer is None:
            raise Unavailable(self._refusal)
        return self._writer

    def find_source(self, scope: Scope) -> str:
        """Return the name of the source that a request is for; "" where there is none."""
        name = path_of(scope).removeprefix(PREFIX).partition("/")[0]
        return name if name in self._sources else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for ``/webhooks/{source}`` or ``/webhooks/{source}/{secret}``."""
        name, _, secret = path_of(scope).removeprefix(PREFIX).partition("/")
        source = self._sources.get(name)
        is_notification, label = scope["method"] == "POST", source.name if source else ""
        if is_notification:
            self._meters.receive(label)
        try:
            answer = await self._answer(source, secret, scope, receive)
        except Exception as error:
            answer = make_problem(error)
            if is_notification:
                self._meters.reject(label, find_reason(error))
        await answer(scope, receive, send)

    async def readyz(self, _http: HttpRequest) -> Response:
        """Say whether notifications can be taken: 200, or 503 with the reason."""
        self.require_open()
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.to_thread(self._check)
        except TimeoutError as error:
            raise Unavailable("the database does not answer") from error
        except RouterError as error:
            raise Unavailable(str(error)) from error
        return PlainTextResponse("ready\n")

    async def _answer(
        self, source: Source | None, secret: str, scope: Scope, receive: Receive
    ) -> ASGIApp:
        writer = self.require_open()
        if source is None:
            raise HTTPException(404, "there is no source of that name")
        if scope["method"] == "POST":
            upload = self._uploads.begin()
            try:
                body = await self._read(scope, receive, upload)
                return await self._take(source, _request(scope, secret=secret, body=body), writer)
            finally:
                upload.end()
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"allow": "GET, HEAD, POST"})
        return _challenge(source, _request(scope, secret=secret))

    async def _take(self, source: Source, request: Request, writer: Appender) -> ASGIApp:
        """Take a notification: 200 with an empty body once it is on disk."""
        _verify(source, request)
        headers = request.headers
        kept = {name: headers[name] for name in headers if not is_credential(name)}
        received_at = datetime.fromtimestamp(self._clock(), UTC)
        notification = Notification(source.name, received_at, kept, request.body)
        appended = await _append(writer, Unsplit(notification, partial(split, source)))
        logger.debug("%s: %d new, %d known", source.name, len(appended.events), appended.known)
        return _accept

    async def _read(self, scope: Scope, receive: Receive, upload: Upload) -> bytes:
        chunks: list[bytes] = []
        size = 0
        is_more = True
        while is_more:
            message = await (upload.receive(receive) if upload.has_room else receive())
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, is_more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > LARGE and not upload.has_room:
                await upload.take_room(_declared(scope) or self._max_body)
            if size <= self._max_body:
                chunks.append(chunk)
            elif size > 4 * self._max_body:
                break
            else:
                chunks.clear()  # read on for a while: most senders listen only when they are done
        if size > self._max_body:
            raise TooLarge(f"the body is larger than {self._max_body} bytes")
        return b"".join(chunks)


def _declared(scope: Scope) -> int:
    """Return how large a body says that it is; 0 where it does not. The server holds it to that."""
    value: bytes = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


@lru_cache(maxsize=1024)
def is_credential(name: str) -> bool:
    """Whether the header ``name`` carries what proves who sends, which is not stored."""
    return _CREDENTIALS.search(name) is not None


def _request(scope: Scope, *, secret: str, body: bytes = b"") -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = dict(QueryParams(scope["query_string"])) if scope["query_string"] else {}
    return Request(headers=headers, query=query, secret=secret, body=body)


async def _accept(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200 with an empty body, as a `Response` would, which takes four times as long."""
    headers = [(b"content-length", b"0")]  # not shared ones: middlewares change them in place
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _challenge(source: Source, request: Request) -> Response:
    """Answer a provider that asks whether the route is ours."""
    try:
        answer = source.answer_challenge(request)
    except Unverified as error:
        raise HTTPException(403, str(error)) from error
    return PlainTextResponse(answer, headers={"x-content-type-options": "nosniff"})


def _verify(source: Source, request: Request) -> None:
    """Verify ``request``; what an adapter chokes on has proved nothing."""
    try:
        source.verify(request)
    except RouterError:
        raise
    except Exception as error:
        logger.error("the adapter of source %r failed to verify\n%s", source.name, trace(error))
        raise Unverified("the request could not be verified") from None


def split(source: Source, body: bytes) -> Sequence[Draft]:
    """Split ``body``; an adapter that breaks its promise costs the events' types, not the body."""
    try:
        drafts = list(source.split(body))
    except Unreadable:
        raise
    except Exception as error:
        logger.error("the adapter of source %r failed to split\n%s", source.name, trace(error))
        drafts = []
    return drafts or MALFORMED


async def _append(writer: Appender, notification: Unsplit) -> Appended:
    """Append; events that cannot be stored as the adapter made them are kept as one."""
    try:
        return await writer.append(notification)
    except StoreError as error:
        logger.error("a notification is kept without its events: %s", error)
        return await writer.append(Entry(notification.notification, MALFORMED))


async def livez(_http: HttpRequest) -> Response:
    """Say that the process runs; asks nothing of the database."""
    return PlainTextResponse("alive\n")


def make_application(
    receiver: Receiver,
    *,
    lifespan: Lifespan[Starlette],
    routes: Mapping[str, Sequence[BaseRoute]] | None = None,
    tracing: Tracing | None = None,
) -> ASGIApp:
    """Return the application of the webhooks, and of the probes and ``routes`` beside them.

    Args:
        receiver: Of the webhooks.
        lifespan: Starts and stops the router.
        routes: Of plugins, by their names; refused as notifications are.
        tracing: Makes spans of notifications; None where nobody traces.
    """
    webhooks = trace_webhooks(receiver, tracing, find_source=receiver.find_source)
    mounts = make_mounts(routes or {}, require_open=receiver.require_open)
    rest = Starlette(
        routes=[Route("/livez", livez), Route("/readyz", receiver.readyz), *mounts],
        exception_handlers=ERROR_HANDLERS,
        lifespan=lifespan,
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope = with_whole_path(scope)
        is_webhook = scope["type"] == "http" and path_of(scope).startswith(PREFIX)
        await (webhooks if is_webhook else rest)(scope, receive, send)

    return application
