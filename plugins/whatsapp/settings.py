"""The settings of a WhatsApp source: what is allowed, and the proof of origin that they choose."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import msgspec

from router.errors import ConfigError
from router.options import explain_unknown
from router.secrets import Secret
from router.verification import Basic, Bearer, HmacSha256, PathSecret, Unsigned, Verification

SIGNATURE_HEADER = "x-hub-signature-256"

Way = Literal["signature", "basic", "bearer", "path", "none"]


class Settings(TypedDict, total=False):
    """What a source may be given. A secret is ``env:NAME``, ``file:PATH`` or the secret itself.

    Attributes:
        app_secrets: Of the Meta app; several while one replaces another.
        verify_token: What Meta must know to be answered ``hub.challenge``; a secret.
        verification: How a request proves its origin; "signature" where app secrets are given.
        users: Whom "basic" accepts, each a ``username`` and a ``password``, which is a secret.
        tokens: What "bearer" accepts.
        secrets: What "path" accepts behind ``/webhooks/{source}/``.
        channel: The business's own number, for bodies that do not name it.
    """

    app_secrets: Sequence[str | Secret]
    verify_token: str | Secret
    verification: Way
    users: Sequence[Mapping[str, str | Secret]]
    tokens: Sequence[str | Secret]
    secrets: Sequence[str | Secret]
    channel: str


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``users``."""

    username: str
    password: str | Secret


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Settings` whose values are all of their kinds."""

    app_secrets: tuple[str | Secret, ...] = ()
    verify_token: str | Secret = ""
    verification: Way | None = None
    users: tuple[User, ...] = ()
    tokens: tuple[str | Secret, ...] = ()
    secrets: tuple[str | Secret, ...] = ()
    channel: str = ""


_SECRETS = 'a list of secrets, such as ["env:NAME"]'
_ALLOWED = {
    "app_secrets": _SECRETS,
    "verify_token": 'a secret, such as "env:NAME"',
    "verification": '"signature", "basic", "bearer", "path" or "none"',
    "users": "a list of { username, password }",
    "tokens": _SECRETS,
    "secrets": _SECRETS,
    "channel": "a text",
}
_CREDENTIALS: Mapping[Way, str] = {
    "signature": "app_secrets",
    "basic": "users",
    "bearer": "tokens",
    "path": "secrets",
}
_UNPROVEN = (
    "has no verification: anybody could send to it. Give it app_secrets, which check the signature"
    ' of the Cloud API; or verification = "basic" with users, "bearer" with tokens or "path" with'
    ' secrets, for the On-Premises API, which signs nothing; or verification = "none", where'
    " strangers are kept out by other means"
)

# What arrives unchanged in a header, and as the last part of a path.
_TOKEN = re.compile(r"[!-~]+")
_PATH_PART = re.compile(r"(?!\.+\Z)[A-Za-z0-9._~-]+")


def check_settings(settings: Mapping[str, object], *, where: str) -> Checked:
    """Return ``settings`` once every key is known and every value of its kind.

    Raises:
        ConfigError: One is not; ``where`` is what the message calls the table.
    """
    for key, value in settings.items():
        if key not in _ALLOWED:
            raise ConfigError(f"{where}.{key} {explain_unknown(key, _ALLOWED)}")
        try:
            msgspec.convert({key: value}, Checked)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}.{key} must be {_ALLOWED[key]}: {error}") from error
    return msgspec.convert(dict(settings), Checked)


def make_verification(checked: Checked, *, where: str, folder: Path) -> Verification:
    """Return the proof of origin that the settings choose, its secrets read.

    Raises:
        ConfigError: They choose none, or one without its credentials, or give others.
    """
    match _choose_way(checked, where=where):
        case "signature":
            secrets = read_secrets(checked.app_secrets, where=f"{where}.app_secrets", folder=folder)
            return HmacSha256(secrets, header=SIGNATURE_HEADER, prefix="sha256=")
        case "basic":
            passwords = [user.password for user in checked.users]
            read = read_secrets(passwords, where=f"{where}.users", folder=folder)
            names = [user.username for user in checked.users]
            return Basic(tuple(zip(names, read, strict=True)))
        case "bearer":
            tokens = read_secrets(checked.tokens, where=f"{where}.tokens", folder=folder)
            _hold_to(_TOKEN, tokens, "visible ASCII characters", where=f"{where}.tokens")
            return Bearer(tokens)
        case "path":
            parts = read_secrets(checked.secrets, where=f"{where}.secrets", folder=folder)
            _hold_to(_PATH_PART, parts, "A-Z a-z 0-9 . _ ~ -", where=f"{where}.secrets")
            return PathSecret(parts)
        case "none":
            return Unsigned()


def _choose_way(checked: Checked, *, where: str) -> Way:
    given = {way: key for way, key in _CREDENTIALS.items() if getattr(checked, key)}
    way = checked.verification or ("signature" if "signature" in given else None)
    for other, key in given.items():
        if other != way:
            raise ConfigError(f'{where}.{key} is only looked at with verification = "{other}"')
    if way is None:
        raise ConfigError(f"{where} {_UNPROVEN}")
    if way in _CREDENTIALS and way not in given:
        key = _CREDENTIALS[way]
        raise ConfigError(f'{where}.{key} is missing or empty: verification = "{way}" needs it')
    return way


def read_secrets(given: Sequence[str | Secret], *, where: str, folder: Path) -> tuple[str, ...]:
    """Return the secrets themselves; a relative ``file:PATH`` counts from ``folder``."""
    try:
        secrets = [one if isinstance(one, Secret) else Secret(one, folder) for one in given]
        return tuple(secret.resolve() for secret in secrets)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _hold_to(pattern: re.Pattern[str], values: Sequence[str], allowed: str, *, where: str) -> None:
    if not all(pattern.fullmatch(value) for value in values):
        raise ConfigError(f"{where} may only hold {allowed}: others change on their way")
