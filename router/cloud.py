"""A client of the Graph API: subscribe an app to an account's notifications, and say where to."""

import re
from dataclasses import replace
from pathlib import Path

import httpx2
import msgspec

from router.bodies import find
from router.errors import ConfigError, Refused, RouterError
from router.masks import mask_callback
from router.outgoing import TIMEOUT, Outgoing, require_https
from router.tls import trust

BASE = "https://graph.facebook.com"
VERSION = "v25.0"
WHAT = "the Graph API"
MAX_CALLBACK = 200  # characters: Meta's "Webhook overrides"

LOST = "the access token has expired or is not valid: make another in the App Dashboard"
NO_PERMISSION = (
    "the token lacks a permission: it needs whatsapp_business_management, and a role on the account"
)
WAIT = "wait a while, then try again"

# By the codes of Meta's "Error codes" for the Cloud API, and 2200, which its callers report.
ADVICE = {
    0: LOST,
    3: NO_PERMISSION,
    4: WAIT,
    10: NO_PERMISSION,
    100: (
        "check the id, and for a callback, that the app is subscribed to the account: "
        "router cloud subscribe --waba ID"
    ),
    190: LOST,
    **dict.fromkeys(range(200, 300), NO_PERMISSION),
    2200: (
        "it asked the callback with hub.challenge, in vain: the router must run, be reached from "
        "the internet at this URL, and know the same verify_token"
    ),
    80007: WAIT,
    80008: WAIT,
    130429: WAIT,
}


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """An app that is subscribed to an account.

    Attributes:
        id: The app's.
        name: The app's.
        override_callback_uri: Where this account's notifications go; None to the app's callback.
    """

    id: str
    name: str
    override_callback_uri: str | None = None


class Callbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Where the notifications about a phone number go: to the first of these that is set.

    Attributes:
        phone_number: Set on the number.
        whatsapp_business_account: Set on its account.
        application: The app's own.
    """

    phone_number: str | None = None
    whatsapp_business_account: str | None = None
    application: str | None = None


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Where notifications go instead of to the callback of the app.

    Attributes:
        callback: The URL; empty for none, which takes an earlier one back.
        verify_token: What the Graph API asks the URL with, at once: it must answer.
    """

    callback: str = ""
    verify_token: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as the Graph API takes it."""
        return {"override_callback_uri": self.callback, "verify_token": self.verify_token}

    def __repr__(self) -> str:
        """Show where to, never the token."""
        return f"Override({self})"

    def __str__(self) -> str:
        return mask_callback(self.callback) or "the callback of the app"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Stand in for msgspec's own, which shows rich every field."""
        return [("callback", str(self))]


NO_OVERRIDE = Override()


class Cloud:
    """The Graph API with an access token; only what concerns where notifications go.

    Args:
        token: An access token with the permission whatsapp_business_management.
        base: Where the API is.
        version: Its version.
        authorities: A file with the CAs to trust, and no other; None trusts whom the system trusts.
        allow_http: Whether base and callbacks may be HTTP.
        timeout: Seconds that each step of a request may take.

    Raises:
        ConfigError: The base is no URL, or not HTTPS, or the version is none.

    Every method raises `Refused` where the API answers that it will not, and another
    `RouterError` where it cannot be reached or trusted, or answers something else than JSON.

    Example: ``Cloud(token).subscribe("102290129340398")``
    """

    def __init__(
        self,
        token: str,
        *,
        base: str = BASE,
        version: str = VERSION,
        authorities: Path | None = None,
        allow_http: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        require_https(base, what="the Graph API's URL", allow_http=allow_http)
        if not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", version):
            raise ConfigError(f"{version!r} is no version of the Graph API: write v25.0 or another")
        if not (token.isascii() and token.isprintable()):
            raise ConfigError("the access token holds characters that no token has: copy it again")
        self._allow_http = allow_http
        self._api = Outgoing(
            url=f"{base.rstrip('/')}/{version}",
            what=WHAT,
            trusted=trust(authorities) if authorities else None,
            headers={"authorization": f"Bearer {token}"},
            secrets=(token,),
            timeout=timeout,
        )

    def read_subscriptions(self, account: str) -> list[Subscribed]:
        """Return the apps that are subscribed to a WhatsApp Business Account.

        Args:
            account: Its id (WABA).
        """
        data = self._ask("GET", f"{_segment(account, what='account')}/subscribed_apps")
        found = find(data, "data")
        return [
            Subscribed(
                id=str(find(one, "whatsapp_business_api_data", "id") or ""),
                name=str(find(one, "whatsapp_business_api_data", "name") or ""),
                override_callback_uri=_text(find(one, "override_callback_uri")),
            )
            for one in (found if isinstance(found, list) else [])
        ]

    def read_app(self) -> str | None:
        """Return the id of the token's own app; None where the API does not tell."""
        try:
            return _text(find(self._ask("GET", "app"), "id"))
        except Refused:  # by a kind of token that may not: which do is not documented
            return None

    def subscribe(self, account: str, override: Override = NO_OVERRIDE) -> None:
        """Subscribe the token's app to an account.

        Args:
            account: Its id (WABA).
            override: Where its notifications go. None of it takes an earlier one back; one is taken
                only of an app that is subscribed already.
        """
        path = f"{_segment(account, what='account')}/subscribed_apps"
        asked = override.as_json() if override.callback else None
        self._ask("POST", path, json=asked, secret=override.verify_token)

    def read_callbacks(self, number: str) -> Callbacks:
        """Return where the notifications about a phone number go.

        Args:
            number: Its id, which is not the number itself.
        """
        path = f"{_segment(number, what='phone number')}?fields=webhook_configuration"
        found = find(self._ask("GET", path), "webhook_configuration")
        names = Callbacks.__struct_fields__
        return Callbacks(**{name: _text(find(found, name)) for name in names})

    def override_number(self, number: str, override: Override) -> None:
        """Send the notifications about a phone number elsewhere than those of its account.

        Args:
            number: Its id, which is not the number itself.
            override: Where they go; none of it takes an earlier one back.
        """
        asked = override.as_json() if override.callback else {"override_callback_uri": ""}
        path = _segment(number, what="phone number")
        body = {"webhook_configuration": asked}
        self._ask("POST", path, json=body, secret=override.verify_token)

    def check_override(self, callback: str, *, verify_token: str) -> Override:
        """Return an override that the Graph API takes; an empty ``callback`` is none.

        Raises:
            ConfigError: The callback is no URL, not HTTPS or too long, or has no token.
        """
        if not callback:
            return NO_OVERRIDE
        require_https(callback, what="the callback", allow_http=self._allow_http)
        if len(callback) > MAX_CALLBACK:
            raise ConfigError(
                f"the callback has {len(callback)} characters, of which the Graph API takes "
                f"{MAX_CALLBACK}: give the source a shorter name or path"
            )
        if not verify_token:
            raise ConfigError("a callback needs a verify token, that of its source: --verify-token")
        return Override(callback=callback, verify_token=verify_token)

    def _ask(self, method: str, path: str, *, json: object = None, secret: str = "") -> object:
        api = replace(self._api, secrets=(*self._api.secrets, secret))
        answer = api.ask(method, f"/{path}", json=json)
        if not answer.is_success:
            raise _explain(api, answer)
        data = api.read(answer)
        if method == "POST" and find(data, "success") is not True:
            raise RouterError(f"{WHAT} answered the change without saying that it was a success")
        return data


def _explain(api: Outgoing, answer: httpx2.Response) -> Refused:
    """Return what ``{"error": {message, code, error_data, …}}`` says."""
    error = find(api.read_errors(answer), "error")
    said = str(find(error, "message") or "")
    details = find(error, "error_data", "details") or find(error, "error_user_msg")
    if isinstance(details, str):
        said = f"{said} {details}"
    advice = _advise(answer.status_code, find(error, "code"))
    return api.refuse(answer, said=said, advice=advice)


def _advise(status: int, code: object) -> str:
    if isinstance(code, int) and code in ADVICE:
        return ADVICE[code]
    if status == httpx2.codes.UNAUTHORIZED:
        return LOST
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        return "it fails by itself; try again later"
    if status == httpx2.codes.NOT_FOUND:
        return "is this the address of the Graph API?"
    return "see Meta's error codes for the Cloud API"


def _segment(name: str, *, what: str) -> str:
    if not re.fullmatch(r"[0-9]{1,30}", name):
        raise ConfigError(f"{name!r} is no id of a {what}: it has digits alone")
    return name


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
