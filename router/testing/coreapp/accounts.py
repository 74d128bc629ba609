"""Who may log in to a Coreapp, and the tokens that they are given."""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LIFETIME = 7 * 86400.0  # seconds; as Meta's documentation of `/v1/users/login` says
ADMIN = "admin"
PASSWORD = "Made-up-1!"  # noqa: S105  # of a simulation that listens on the loopback


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in.

    Attributes:
        password: What they know.
        is_admin: Whether they may read and change settings.
    """

    password: str
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gives.

    Attributes:
        username: Whose it is.
        expires_at: Seconds since 1970.
    """

    username: str
    expires_at: float


class Accounts:
    """Passwords and tokens.

    Args:
        accounts: By username.
        lifetime: Seconds for which a token is good.
        clock: Seconds since 1970.
        draw: Makes a token.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        *,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self.lifetime = lifetime
        self._accounts = dict(accounts)
        self._clock = clock
        self._draw = draw
        self._tokens: dict[str, Token] = {}

    def find_user(self, authorization: str) -> str | None:
        """Return who proves with a Basic ``Authorization`` that they know a password."""
        username, colon, password = _decode_basic(authorization).partition(":")
        account = self._accounts.get(username)
        known = account.password if account else ""
        is_right = hmac.compare_digest(password.encode(), known.encode())
        return username if account and colon and is_right else None

    def set_password(self, username: str, password: str) -> None:
        """Give somebody another password."""
        is_admin = self._accounts[username].is_admin
        self._accounts[username] = Account(password, is_admin)

    def issue(self, username: str) -> tuple[str, float]:
        """Return a new token and when it expires, in seconds since 1970."""
        token, expires_at = self._draw(), self._clock() + self.lifetime
        self._tokens[token] = Token(username, expires_at)
        return token, expires_at

    def find_bearer(self, authorization: str) -> Account | None:
        """Return whose token ``Authorization`` holds; None where it is unknown or has expired."""
        scheme, _, word = authorization.partition(" ")
        found = self._tokens.get(word.strip()) if scheme.lower() == "bearer" else None
        if found is None or self._clock() >= found.expires_at:
            return None
        return self._accounts.get(found.username)

    def revoke(self) -> None:
        """Make all tokens expire now."""
        self._tokens.clear()


def _decode_basic(authorization: str) -> str:
    scheme, _, word = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(word, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
