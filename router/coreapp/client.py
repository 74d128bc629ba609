"""A Coreapp, asked over HTTPS: log in, read and change its settings, give it an internal CA."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import httpx2
import msgspec

from router.bodies import find
from router.coreapp.login import Login
from router.coreapp.settings import flatten
from router.errors import ConfigError, RouterError
from router.outgoing import TIMEOUT, Outgoing, require_https
from router.tls import trust

WHAT = "the Coreapp"
LOGIN = "/v1/users/login"
APPLICATION = "/v1/settings/application"
WEBHOOK_CA = "/v1/certificates/webhooks/ca"
NOT_FOUND = 1006  # its code of an error about something that is not there

# Words of Meta's reference of /v1/users/login.
PASSWORD_RULES = (
    "8 to 64 characters, with a digit, a capital, a small and a special character among them"  # noqa: S105 - says what one must be
)


class Settings(msgspec.Struct, frozen=True):
    """The application settings of a Coreapp.

    Attributes:
        values: Each by its name with dots, such as ``webhooks.url``, which may hold credentials.
        version: The Coreapp's own, such as ``v2.53.5``; empty where it does not say.
    """

    values: Mapping[str, object]
    version: str


class Coreapp:
    """A Coreapp whose settings are read and changed.

    Args:
        url: Where its API is, such as ``https://coreapp:9090``.
        token: The bearer token of a `login`; what needs none works without.
        authorities: A file with the CAs to trust, and no other; None trusts whom the system trusts.
        allow_http: Whether the URL may be HTTP.
        timeout: Seconds that each step of a request may take.

    Raises:
        ConfigError: The URL is none, or not HTTPS, or the file holds no CA.

    Every method raises `Refused` where the Coreapp answers that it will not, and another
    `RouterError` where it cannot be reached or trusted, or answers something else than JSON.

    Example: ``Coreapp(login.url, token=login.token).change_settings({"callback_persist": True})``
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        authorities: Path | None = None,
        allow_http: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        require_https(url, what="the Coreapp's URL", allow_http=allow_http)
        if "@" in url:
            raise ConfigError("the Coreapp's URL holds credentials: give them with a login instead")
        self.url = url.rstrip("/")
        self._authorities = authorities
        self._trusted = trust(authorities) if authorities else None
        self._timeout = timeout
        self._api = self._make_api({"authorization": f"Bearer {token}"} if token else {}, token)

    def login(self, user: str, password: str, *, new_password: str = "") -> Login:
        """Log in, and return what the token is; it is not kept, nor used for what comes next.

        Args:
            user: Its name; settings are the administrator's.
            password: Its password.
            new_password: What the password is to be from now on: the first login to a new Coreapp
                must change it.
        """
        if ":" in user:
            raise ConfigError(f"the user name {user!r} holds a colon, which ends a name in HTTP")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        secrets = (pair, password, new_password)
        api = self._make_api({"authorization": f"Basic {pair}"}, *secrets)
        body = {"new_password": new_password} if new_password else None
        answer = api.ask("POST", LOGIN, json=body)
        if not answer.is_success:
            self._refuse_login(api, answer, user=user, changes=bool(new_password))
        found = find(api.read(answer), "users", 0)
        token = find(found, "token")
        if not (isinstance(token, str) and token.isascii() and token.isprintable() and token):
            raise RouterError(f"{WHAT} at {self.url} took the password, but gave no token")
        return Login(
            url=self.url,
            user=user,
            token=token,
            expires=_read_time(find(found, "expires_after")),
            authorities=str(self._authorities.absolute()) if self._authorities else None,
        )

    def read_settings(self) -> Settings:
        """Return its application settings."""
        answer = self._ask("GET", APPLICATION)
        data = self._api.read(answer)
        application = find(data, "settings", "application")
        if not isinstance(application, dict):
            raise RouterError(
                f"what {WHAT} at {self.url} answered holds no settings.application: "
                "is this the address of the API?"
            )
        version = find(data, "meta", "version")
        return Settings(flatten(application), version if isinstance(version, str) else "")

    def change_settings(self, changes: Mapping[str, object]) -> None:
        """Change application settings; those that are not named stay as they are.

        Args:
            changes: As the API takes them: ``{"webhooks": {"url": "https://router/webhooks/wa"}}``.
        """
        self._api.read(self._ask("PATCH", APPLICATION, json=changes))  # null, or an object

    def read_webhook_ca(self) -> bytes | None:
        """Return the CAs by which it trusts its callback, in PEM; None where it has none."""
        answer = self._api.ask("GET", WEBHOOK_CA)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            code = find(self._api.read_errors(answer), "errors", 0, "code")
            if not answer.content or code == NOT_FOUND:
                return None
        self._require_success(answer)
        return answer.content

    def upload_webhook_ca(self, authorities: bytes) -> None:
        """Replace the CAs by which it trusts its callback; it must be restarted then.

        Args:
            authorities: One or several certificates in PEM.
        """
        headers = {"content-type": "text/plain"}
        answer = self._ask("POST", WEBHOOK_CA, body=authorities, headers=headers)
        self._api.read(answer)  # null, or an object

    def _make_api(self, headers: Mapping[str, str], *secrets: str) -> Outgoing:
        return Outgoing(
            url=self.url,
            what=WHAT,
            trusted=self._trusted,
            headers=headers,
            secrets=secrets,
            timeout=self._timeout,
        )

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        answer = self._api.ask(method, path, json=json, body=body, headers=headers)
        self._require_success(answer)
        return answer

    def _require_success(self, answer: httpx2.Response) -> None:
        status = answer.status_code
        if answer.is_success:
            return
        if status == httpx2.codes.UNAUTHORIZED:
            advice = "the login has expired or is not valid; log in again: router coreapp login"
        elif status == httpx2.codes.FORBIDDEN:
            advice = "only its administrator may; log in as admin: router coreapp login"
        else:
            advice = _advise(status)
        raise self._api.refuse(answer, said=_read_errors(self._api, answer), advice=advice)

    def _refuse_login(
        self, api: Outgoing, answer: httpx2.Response, *, user: str, changes: bool
    ) -> NoReturn:
        status = answer.status_code
        said = _read_errors(api, answer)
        if "new_password" in said or "new password" in said.lower():
            advice = (
                f"it does not take the new password: give another one ({PASSWORD_RULES})"
                if changes
                else "a new Coreapp wants its password changed at the first login: "
                f"add --new-password env:NAME or file:PATH ({PASSWORD_RULES})"
            )
        elif status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            first = (
                "if the password was changed before, log in with the new one, "
                "without --new-password"
                if changes
                else "if nobody has logged in before, add --new-password"
            )
            advice = (
                f"it does not accept the name {user!r} with this password; check both, and {first}"
            )
        else:
            advice = _advise(status)
        raise api.refuse(answer, said=said, advice=advice)


def _advise(status: int) -> str:
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        return "it fails by itself; try again later, and look at its log"
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        return "wait a while, then try again"
    if status == httpx2.codes.BAD_REQUEST:
        return "it does not take what was sent; nothing was changed"
    return "is this the address of a Coreapp's API, https://HOST:9090 by default?"


def _read_errors(api: Outgoing, answer: httpx2.Response) -> str:
    """Return the words of the errors in an answer: ``{"errors": [{code, title, details}]}``."""
    found = find(api.read_errors(answer), "errors")
    errors = found if isinstance(found, list) else []
    words = [[find(error, key) for key in ("code", "title", "details")] for error in errors]
    return "; ".join(" ".join(str(word) for word in said if word) for said in words)


def _read_time(value: object) -> datetime | None:
    """Return the moment in ``2021-07-25 08:50:48+00:00``, as a Coreapp writes it."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
