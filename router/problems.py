"""Errors as HTTP tells them: problem documents (RFC 9457) without what was sent or expected."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from router import bodies
from router.errors import RouterError, Unavailable, Unreadable, Unverified, trace

logger = logging.getLogger("router.receiver")


class TooLarge(RouterError):
    """A body is larger than the receiver takes: answered 413."""


class TooSlow(RouterError):
    """A large body did not come in in time: answered 408."""


REASONS: Mapping[type[Exception], str] = {  # the first that fits
    HTTPException: "unknown_source",  # it is all that a notification meets of them
    Unreadable: "unreadable",
    Unverified: "unverified",
    TooLarge: "too_large",
    TooSlow: "too_slow",
    ClientDisconnect: "disconnected",
    RouterError: "unavailable",
}


def make_problem(error: Exception) -> Response:
    """Return the answer to a request that led to ``error``."""
    status, headers, detail = 500, {}, str(error)
    match error:
        case HTTPException():
            status, headers, detail = error.status_code, dict(error.headers or {}), error.detail
        case Unreadable():
            status = 400
        case ClientDisconnect():
            status, detail = 400, "the body ended before its time"
        case Unverified():
            status, headers = 401, {"www-authenticate": "Basic, Bearer"}
        case TooLarge():
            status, headers = 413, {"connection": "close"}
        case TooSlow():
            status, headers = 408, {"connection": "close"}
        case Unavailable():
            status, headers = 503, {"retry-after": str(error.retry_after)}
        case RouterError():
            status, headers = 503, {"retry-after": "60"}
        case _:
            logger.error("a request failed\n%s", trace(error))
            detail = "something went wrong that the router's log tells more of"
    title = HTTPStatus(status).phrase
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(bodies.encode(problem), status, headers, media_type="application/problem+json")


def find_reason(error: Exception) -> str:
    """Return why a notification was rejected, in a word that metrics can bear."""
    return next((reason for kind, reason in REASONS.items() if isinstance(error, kind)), "error")


def answer_error(_request: Request, error: Exception) -> Response:
    """Return the same to Starlette, which asks with the request."""
    return make_problem(error)


ERROR_HANDLERS = {HTTPException: answer_error, RouterError: answer_error, Exception: answer_error}
