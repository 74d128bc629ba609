"""A made-up provider and its adapter, as sound as its ways."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from router import bodies
from router.errors import ConfigError, Unverified
from router.events import Draft
from router.sources import Request, Signed

Json = dict[str, object]

HEADER, KEY = "x-toy-signature", "x-toy-key"
SETTINGS = {"secret": "a-secret-of-toys", "token": "a-token-of-toys"}
SAMPLES = [
    b'{"items": [{"id": "1", "who": "ana", "text": "Hello", "at": "1790000000"},'
    b' {"id": "2", "who": "ana", "text": "There?", "at": "1790000001"}]}',
    b'{"items": [{"id": "3", "who": "ben", "text": "Bye", "at": "1790000002"}]}',
]


def as_text(value: object) -> str:
    """Return a text that the log can hold; empty where there is none."""
    is_text = isinstance(value, str) and len(value) < 500 and value.isprintable()
    return str(value) if is_text else ""


def as_moment(value: object) -> datetime | None:
    """Return a moment, where there is one."""
    text = as_text(value)
    is_number = text.isascii() and text.isdecimal() and len(text) < 12
    return datetime.fromtimestamp(int(text), UTC) if is_number else None


def read_item(item: object, path: str) -> Draft:
    """Return the event of one item."""
    found: Json = item if isinstance(item, dict) else {}
    id_ = as_text(found.get("id"))
    if not id_:
        return Draft(path=path, type="other", subtype="malformed")
    return Draft(
        path=path,
        type="message",
        subtype="text",
        conversation=as_text(found.get("who")),
        external_id=id_,
        occurred_at=as_moment(found.get("at")),
        natural_key=("item", id_),
    )


def split(body: bytes) -> list[Draft]:
    """Split a body as one should."""
    data = bodies.decode(body)
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list) or not items:
        return [Draft(path="$", type="other", subtype="unrecognised")]
    return [read_item(item, f"$.items[{at}]") for at, item in enumerate(items)]


def verify(request: Request, secret: str) -> None:
    """Verify a request as one should."""
    if request.headers.get(KEY) != "toy-1":
        raise Unverified("the key is not known")
    given = request.headers.get(HEADER, "").encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(given, digest(request.body, secret).encode()):
        raise Unverified("the signature does not match")


def digest(body: bytes, secret: str) -> str:
    """Return the signature of a body."""
    return hmac.digest(secret.encode(), body, "sha256").hex()


def sign(body: bytes, secret: str) -> Signed:
    """Sign a body as one should."""
    return Signed(headers={HEADER: digest(body, secret), KEY: "toy-1"})


def challenge(request: Request, token: str) -> str:
    """Answer a challenge as one should."""
    query = request.query
    is_known = query.get("hub.verify_token") == token and query.get("hub.mode") == "subscribe"
    if not is_known or "hub.challenge" not in query:
        raise Unverified("the token is not known")
    return query["hub.challenge"]


def check_settings(settings: Mapping[str, object]) -> None:
    """Check settings as one should."""
    for key, value in settings.items():
        if key not in SETTINGS:
            raise ConfigError(f"{key} is unknown")
        if not isinstance(value, str):
            raise ConfigError(f"{key} must be a text")
    if "secret" not in settings:
        raise ConfigError("secret is missing")


class Ways(msgspec.Struct, frozen=True):
    """How the toy does what adapters do; each way may be a flawed one."""

    split: Callable[[bytes], list[Draft]] = split
    plain_split: Callable[[bytes], list[Draft]] = split
    verify: Callable[[Request, str], None] = verify
    sign: Callable[[bytes, str], Signed] = sign
    challenge: Callable[[Request, str], str] = challenge
    check_settings: Callable[[Mapping[str, object]], None] = check_settings
    name: str | None = None
    version: object = 1
    is_remembered: bool = False


class ToySource:
    """A source of the toy's."""

    def __init__(self, name: str, settings: Mapping[str, object], ways: Ways) -> None:
        self.name = ways.name or name
        self._secret = str(settings.get("secret", ""))
        self._token = str(settings.get("token", "?"))
        self._ways = ways
        self._count = 0

    def verify(self, request: Request) -> None:
        """Verify."""
        self._ways.verify(request, self._secret)

    def answer_challenge(self, request: Request) -> str:
        """Answer."""
        return self._ways.challenge(request, self._token)

    def split(self, body: bytes) -> Sequence[Draft]:
        """Split."""
        self._count += 1
        drafts = self._ways.split(body)
        if self._ways.is_remembered:
            first = msgspec.structs.replace(drafts[0], external_id=str(self._count))
            return [first, *drafts[1:]]
        return drafts

    def sign(self, body: bytes) -> Signed:
        """Sign."""
        return self._ways.sign(body, self._secret)


class ToyAdapter:
    """The toy's adapter."""

    def __init__(self, ways: Ways | None = None) -> None:
        self._ways = ways or Ways()
        self.version: int = self._ways.version  # type: ignore[assignment]  # a flaw, if it is none

    def make_source(
        self, name: str, settings: Mapping[str, object], *, folder: Path = Path()
    ) -> ToySource:
        """Make a source."""
        self._ways.check_settings(settings)
        return ToySource(name, settings, self._ways)

    def split(self, body: bytes) -> Sequence[Draft]:
        """Split."""
        return self._ways.plain_split(body)
