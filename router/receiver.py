"""HTTP in: a request is verified, split and appended before it is answered 200."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from router import paths
from router.errors import RouterError, Unavailable, Unreadable, Unverified
from router.events import Draft, Entry, Notification
from router.sources import Request, Source
from router.writer import Writer

CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
NOT_STARTED = (
    "the router has not been started: give the application lifespan=router.lifespan, or wrap its "
    "own in `async with router:`"
)

logger = logging.getLogger("router.receiver")


class TooLarge(RouterError):
    """A body is larger than the receiver takes: answered 413."""


class Receiver:
    """The HTTP routes of the router.

    Args:
        sources: By name.
        max_body: Bytes; counted while streaming, whatever Content-Length says.
        check: Raises `RouterError` while the log cannot be used; may block.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        max_body: int,
        check: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._max_body = max_body
        self._check = check
        self._clock = clock
        self._writer: Writer | None = None
        self._refusal = NOT_STARTED

    def open(self, writer: Writer) -> None:
        """Take notifications from now on, and hand them to ``writer``."""
        self._writer = writer

    def close(self) -> None:
        """Refuse notifications from now on, so that the provider sends them elsewhere or later."""
        self._writer = None
        self._refusal = "the router is stopping"

    def _require_open(self) -> Writer:
        if self._writer is None:
            raise Unavailable(self._refusal)
        return self._writer

    def routes(self) -> list[Route]:
        """Return what to mount."""
        return [
            Route("/webhooks/{source}", self.receive, methods=["POST"]),
            Route("/webhooks/{source}/{secret}", self.receive, methods=["POST"]),
            Route("/webhooks/{source}", self.challenge, methods=["GET"]),
            Route("/webhooks/{source}/{secret}", self.challenge, methods=["GET"]),
            Route("/livez", livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
        ]

    async def receive(self, http: HttpRequest) -> Response:
        """Take a notification: 200 with an empty body once it is on disk."""
        writer = self._require_open()
        source = self._find_source(http)
        body = await self._read(http)
        headers = _headers(http)
        source.verify(_request(http, headers, body=body))
        drafts = _split(source, body)
        kept = {name: headers[name] for name in headers if name not in CREDENTIAL_HEADERS}
        received_at = datetime.fromtimestamp(self._clock(), UTC)
        notification = Notification(source.name, received_at, kept, body)
        appended = await writer.append(Entry(notification, drafts))
        logger.debug("%s: %d new, %d known", source.name, len(appended.positions), appended.known)
        return Response(status_code=200)

    async def challenge(self, http: HttpRequest) -> Response:
        """Answer a provider that asks whether the route is ours."""
        source = self._find_source(http)
        try:
            answer = source.answer_challenge(_request(http, _headers(http)))
        except Unverified as error:
            raise HTTPException(403, str(error)) from error
        return PlainTextResponse(answer)

    async def readyz(self, _http: HttpRequest) -> Response:
        """Say whether notifications can be taken: 200, or 503 with the reason."""
        self._require_open()
        try:
            await asyncio.to_thread(self._check)
        except RouterError as error:
            raise Unavailable(str(error)) from error
        return PlainTextResponse("ready\n")

    def _find_source(self, http: HttpRequest) -> Source:
        name = http.path_params["source"]
        if name not in self._sources:
            raise HTTPException(404, "there is no source of that name")
        return self._sources[name]

    async def _read(self, http: HttpRequest) -> bytes:
        chunks = []
        size = 0
        async for chunk in http.stream():
            size += len(chunk)
            if size > self._max_body:
                raise TooLarge(f"the body is larger than {self._max_body} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


async def livez(_http: HttpRequest) -> Response:
    """Say that the process runs; asks nothing of the database."""
    return PlainTextResponse("alive\n")


def answer_error(_http: HttpRequest, error: Exception) -> Response:
    """Return the problem document (RFC 9457) for an error; never what was sent or expected."""
    status, headers = 500, {}
    match error:
        case HTTPException():
            status, headers = error.status_code, dict(error.headers or {})
        case Unreadable() | ClientDisconnect():
            status = 400
        case Unverified():
            status, headers = 401, {"www-authenticate": "Basic, Bearer"}
        case TooLarge():
            status, headers = 413, {"connection": "close"}
        case Unavailable():
            status, headers = 503, {"retry-after": str(error.retry_after)}
        case RouterError():
            status, headers = 503, {"retry-after": "60"}
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    title = HTTPException(status).detail
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(problem, status, headers, media_type="application/problem+json")


ERROR_HANDLERS = {
    HTTPException: answer_error,
    RouterError: answer_error,
    ClientDisconnect: answer_error,
}


def _headers(http: HttpRequest) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in http.scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _request(http: HttpRequest, headers: Mapping[str, str], *, body: bytes = b"") -> Request:
    secret = http.path_params.get("secret", "")
    query = dict(http.query_params) if http.scope["query_string"] else {}
    return Request(headers=headers, query=query, secret=secret, body=body)


def _split(source: Source, body: bytes) -> Sequence[Draft]:
    """Split ``body``; an adapter that breaks its promise costs the events' types, not the body."""
    try:
        drafts = source.split(body)
        for draft in drafts:
            paths.parse(draft.path)
    except Unreadable:
        raise
    except Exception:
        logger.exception("the adapter of source %r failed: its notification is kept", source.name)
        drafts = []
    return drafts or [Draft(path="$", type="other", subtype="malformed")]
