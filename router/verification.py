"""How a request proves where it comes from: the ways that most providers share."""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from router.errors import Unverified
from router.sources import Request, Signed


class Verification(Protocol):
    """One way in which a request proves its origin."""

    def verify(self, request: Request) -> None:
        """Return when it does, else raise `Unverified`."""

    def sign(self, body: bytes) -> Signed:
        """Return what a sender would add."""


@dataclass(frozen=True, slots=True, repr=False)  # its text would show the secrets
class HmacSha256:
    """``<header>: <prefix><hex HMAC-SHA256 of the raw body>``, under any of several secrets."""

    secrets: tuple[str, ...]
    header: str
    prefix: str = ""

    def verify(self, request: Request) -> None:
        """Compare bytes in constant time: text comparison fails on what is not ASCII."""
        given = request.headers.get(self.header)
        if given is None:
            raise Unverified(f"the request has no {self.header} header")
        known = [self._digest(secret, request.body) for secret in self.secrets]
        if not matches(given, known):
            raise Unverified(f"the {self.header} header does not match the body")

    def sign(self, body: bytes) -> Signed:
        """Sign with the first secret."""
        return Signed(headers={self.header: self._digest(self.secrets[0], body)})

    def _digest(self, secret: str, body: bytes) -> str:
        digest = _key(secret).copy()
        digest.update(body)
        return self.prefix + digest.hexdigest()


@dataclass(frozen=True, slots=True, repr=False)  # its text would show the secrets
class Basic:
    """``Authorization: Basic`` with one of several users."""

    users: tuple[tuple[str, str], ...]

    def verify(self, request: Request) -> None:
        """Compare the whole header with what each user would send."""
        known = [_basic(name, password) for name, password in self.users]
        if not matches(_authorization(request), known):
            raise Unverified("the request's user name and password are not accepted")

    def sign(self, body: bytes) -> Signed:
        """Send the first user."""
        return Signed(headers={"authorization": _basic(*self.users[0])})


@dataclass(frozen=True, slots=True, repr=False)  # its text would show the secrets
class Bearer:
    """``Authorization: Bearer`` with one of several tokens."""

    tokens: tuple[str, ...]

    def verify(self, request: Request) -> None:
        """Compare the whole header with what each token would make."""
        known = [f"bearer {token}" for token in self.tokens]
        if not matches(_authorization(request), known):
            raise Unverified("the request's bearer token is not accepted")

    def sign(self, body: bytes) -> Signed:
        """Send the first token."""
        return Signed(headers={"authorization": f"bearer {self.tokens[0]}"})


@dataclass(frozen=True, slots=True, repr=False)  # its text would show the secrets
class PathSecret:
    """``/webhooks/{source}/{secret}``: for providers that can only be given a URL."""

    secrets: tuple[str, ...]

    def verify(self, request: Request) -> None:
        """Compare the last part of the path."""
        if not matches(request.secret, self.secrets):
            raise Unverified("the secret in the path is not accepted")

    def sign(self, body: bytes) -> Signed:
        """Use the first secret."""
        return Signed(secret=self.secrets[0])


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Anybody may send: for a network that keeps strangers out by itself."""

    def verify(self, request: Request) -> None:
        """Accept everything."""

    def sign(self, body: bytes) -> Signed:
        """Add nothing."""
        return Signed()


@lru_cache(maxsize=256)
def _key(secret: str) -> hmac.HMAC:
    """Return what all digests under ``secret`` begin with: half of what a short body's costs."""
    return hmac.new(secret.encode(), digestmod="sha256")


def _authorization(request: Request) -> str:
    """The header with its scheme in lower case, for schemes have none (RFC 9110, section 11.1)."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return f"{scheme.lower()} {credentials.strip()}"


def _basic(name: str, password: str) -> str:
    pair = f"{name}:{password}".encode()
    return f"basic {base64.b64encode(pair).decode()}"


def matches(given: str, known: Sequence[str]) -> bool:
    """Whether ``given`` is one of ``known``, in a time that does not tell how near it came."""
    sent = given.encode("utf-8", "surrogatepass")
    return any(hmac.compare_digest(sent, candidate.encode()) for candidate in known)
