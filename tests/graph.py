"""A Graph API for tests: what is about subscriptions, as Meta documents its answers and errors."""

import secrets
from dataclasses import dataclass, field

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

TOKEN = "EAAJi-made-up"
APP = "670843887433847"
ACCOUNT = "102290129340398"
NUMBER = "106540352242922"
CALLBACK = "https://app.example/webhook"


@dataclass(slots=True)
class Graph:
    """What the API knows.

    Attributes:
        accounts: The override of each account that the app is subscribed to.
        numbers: The override of each phone number.
        forgets: Whether it answers success and changes nothing, as it has been seen to do.
        is_down: Whether it answers 503.
        others: Apps of others that are subscribed to the account, with their overrides.
        tells_app: Whether it tells which app the token is for.
    """

    accounts: dict[str, str | None] = field(default_factory=dict)
    numbers: dict[str, str | None] = field(default_factory=lambda: {NUMBER: None})
    forgets: bool = False
    is_down: bool = False
    others: dict[str, str | None] = field(default_factory=dict)
    tells_app: bool = True

    def make_app(self) -> Starlette:
        """Return it as an ASGI application."""
        edge = f"/v25.0/{ACCOUNT}/subscribed_apps"
        return Starlette(
            routes=[
                Route(edge, self._show_apps, methods=["GET"]),
                Route(edge, self._subscribe, methods=["POST"]),
                Route("/v25.0/app", self._show_own_app, methods=["GET"]),
                Route("/v25.0/{number}", self._show_number, methods=["GET"]),
                Route("/v25.0/{number}", self._override, methods=["POST"]),
                Route("/v25.0/{account}/subscribed_apps", _unknown, methods=["GET", "POST"]),
            ]
        )

    async def _show_apps(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        apps = dict(self.others)
        if ACCOUNT in self.accounts:
            apps[APP] = self.accounts[ACCOUNT]
        return JSONResponse({"data": [_describe(app, override) for app, override in apps.items()]})

    async def _show_own_app(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        if not self.tells_app:
            return await _unknown(request)
        return JSONResponse({"name": "Lucky Shrub", "id": APP})

    async def _subscribe(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        given = await request.json() if await request.body() else {}
        callback = given.get("override_callback_uri")
        if callback and ACCOUNT not in self.accounts:
            return _error(
                100,
                "(#100) Before override the current callback uri, your app must be subscribed to "
                "receive messages for WhatsApp Business Account",
            )
        if callback and (refused := await _verify(callback, given["verify_token"])):
            return refused
        if not self.forgets:
            self.accounts[ACCOUNT] = callback
        return JSONResponse({"success": True})

    async def _show_number(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        number = request.path_params["number"]
        if number not in self.numbers or request.url.query != "fields=webhook_configuration":
            return await _unknown(request)
        found = {"application": CALLBACK}
        for name, override in (
            ("whatsapp_business_account", self.accounts.get(ACCOUNT)),
            ("phone_number", self.numbers[number]),
        ):
            if override:
                found[name] = override
        return JSONResponse({"webhook_configuration": found, "id": number})

    async def _override(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        given = (await request.json())["webhook_configuration"]
        callback = given["override_callback_uri"]
        if callback and (refused := await _verify(callback, given["verify_token"])):
            return refused
        if not self.forgets:
            self.numbers[request.path_params["number"]] = callback or None
        return JSONResponse({"success": True})

    def _refuse(self, request: Request) -> Response | None:
        if self.is_down:
            return PlainTextResponse("Sorry, something went wrong.", 503)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            message = f"Error validating access token {given}: Session has expired"
            return _error(190, message, status=401, error_subcode=463)
        return None


def _describe(app: str, override: str | None) -> dict[str, object]:
    data = {"id": app, "name": "Lucky Shrub", "link": f"https://x.example/?app_id={app}"}
    found: dict[str, object] = {"whatsapp_business_api_data": data}
    return found | {"override_callback_uri": override} if override else found


async def _unknown(request: Request) -> Response:
    return _error(
        100,
        "Unsupported request. Object with ID does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation",
        type="GraphMethodException",
        error_subcode=33,
    )


async def _verify(callback: str, verify_token: str) -> Response | None:
    """Ask the callback as Meta does; return what is answered where it fails."""
    challenge = secrets.token_hex(8)
    query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(callback, params=query)
    if answer.is_success and answer.text == challenge:
        return None
    return _error(
        2200,
        "(#2200) Callback verification failed with the following errors: "
        f"HTTP Status Code = {answer.status_code}; HTTP Message = {answer.reason_phrase}",
    )


def _error(code: int, message: str, *, status: int = 400, **more: object) -> Response:
    error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    return JSONResponse({"error": error | more}, status)
