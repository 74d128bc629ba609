"""The HTTP API by which a Coreapp is configured: log in, read and change settings, upload a CA."""

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router import bodies
from router.errors import Unreadable
from router.testing.coreapp.accounts import Accounts
from router.testing.coreapp.settings import ApplicationSettings, Unsettable

Endpoint = Callable[[Request], Awaitable[Response]]

# Meta's own example of a PATCH ends an object with a comma. A text is skipped as a whole.
_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


@dataclass(slots=True)
class Trust:
    """The internal CA by which callbacks are verified beside the system's own.

    Attributes:
        uploaded: The certificates, as PEM; trusted after the next restart.
        in_force: Those that are trusted now.
    """

    uploaded: str = ""
    in_force: str = ""

    def restart(self) -> None:
        """Trust what was uploaded."""
        self.in_force = self.uploaded


@dataclass(frozen=True, slots=True)
class Api:
    """What the API works on.

    Attributes:
        settings: What it reads and changes.
        accounts: Who may do so.
        trust: Where an uploaded CA goes.
        answers_null: Whether a change is answered ``null``, as some versions do, or an object.
    """

    settings: ApplicationSettings
    accounts: Accounts
    trust: Trust = field(default_factory=Trust)
    answers_null: bool = False

    def make_app(self) -> Starlette:
        """Return the API as an ASGI application."""
        settings, authority = "/v1/settings/application", "/v1/certificates/webhooks/ca"
        routes = [
            Route("/v1/users/login", self._log_in, methods=["POST"]),
            Route(settings, self._as_admin(self._read), methods=["GET"]),
            Route(settings, self._as_admin(self._change), methods=["PATCH"]),
            Route(settings, self._as_admin(self._reset), methods=["DELETE"]),
            Route(authority, self._as_admin(self._show_ca), methods=["GET"]),
            Route(authority, self._as_admin(self._take_ca), methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._refuse_request})

    def _as_admin(self, endpoint: Endpoint) -> Endpoint:
        async def check(request: Request) -> Response:
            account = self.accounts.find_bearer(request.headers.get("authorization", ""))
            if account is None:
                return self._refuse(401, 1005, "Access denied", "Invalid or expired token")
            if not account.is_admin:
                return self._refuse(403, 1005, "Access denied", "The admin account is needed")
            return await endpoint(request)

        return check

    async def _log_in(self, request: Request) -> Response:
        user = self.accounts.find_user(request.headers.get("authorization", ""))
        if user is None:
            return self._refuse(401, 1005, "Access denied", "Invalid credentials")
        if body := await request.body():
            given = _read_json(body)
            wanted = given.get("new_password") if isinstance(given, dict) else None
            if not isinstance(wanted, str) or not wanted:
                return self._refuse_value("the body may only hold new_password, a text")
            self.accounts.set_password(user, wanted)
        token, expires_at = self.accounts.issue(user)
        moment = datetime.fromtimestamp(int(expires_at), UTC).isoformat(" ")
        return self._answer({"users": [{"token": token, "expires_after": moment}]})

    async def _read(self, _request: Request) -> Response:
        return self._answer({"settings": {"application": self.settings.read()}})

    async def _change(self, request: Request) -> Response:
        patch = _read_json(await request.body())
        try:
            self.settings.change(patch)
        except Unsettable as error:
            return self._refuse(400, error.code, error.title, error.details)
        return self._confirm()

    async def _reset(self, _request: Request) -> Response:
        self.settings.reset()
        return self._confirm()

    async def _show_ca(self, _request: Request) -> Response:
        if not self.trust.uploaded:
            return self._refuse(404, 1006, "Resource not found", "No webhook CA certificates found")
        return Response(self.trust.uploaded, media_type="text/plain")

    async def _take_ca(self, request: Request) -> Response:
        body = await request.body()
        try:
            pem = body.decode("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
        except (UnicodeDecodeError, ssl.SSLError, ValueError):
            return self._refuse_value("the body is not a certificate in PEM")
        self.trust.uploaded = pem
        return self._confirm()

    def _confirm(self) -> Response:
        if self.answers_null:
            return Response(b"null", media_type="application/json")
        return self._answer({})

    def _answer(self, found: dict[str, object], status: int = 200) -> Response:
        meta = {"version": self.settings.version, "api_status": "stable"}
        content = msgspec.json.encode(found | {"meta": meta})
        return Response(content, status, media_type="application/json")

    def _refuse(self, status: int, code: int, title: str, details: str) -> Response:
        error = {"code": code, "title": title, "details": details}
        return self._answer({"errors": [error]}, status)

    def _refuse_value(self, details: str) -> Response:
        return self._refuse(400, 1009, "Parameter value is not valid", details)

    def _refuse_request(self, _request: Request, error: Exception) -> Response:
        """Answer in the API's own form what Starlette found: no such path, or no such method."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._refuse(status, 1006, "Resource not found", str(error))


def _read_json(body: bytes) -> object:
    """Return what a body says; None, which is no setting, where it cannot be read."""
    try:
        return bodies.decode(_TRAILING_COMMA.sub(rb"\1", body))
    except Unreadable:
        return None
