"""Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from router.errors import ConfigError
from router.secrets import Secret

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  # bytes of a key


def read_key(secret: Secret) -> bytes:
    """Return the key that ``secret`` holds in Base64, with or without ``whsec_`` before it.

    Raises:
        ConfigError: There is none, or it is not of the length that the standard demands.
    """
    try:
        key = base64.b64decode(secret.resolve().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SHORTEST <= len(key) <= LONGEST:
        raise ConfigError(
            f"the secret {secret} must be {PREFIX} and {SHORTEST} to {LONGEST} bytes in Base64: "
            "openssl rand -base64 32 makes them"
        )
    return key


def sign(body: bytes, *, id: str, timestamp: int, keys: Sequence[bytes]) -> dict[str, str]:  # noqa: A002
    """Return the headers that prove where ``body`` comes from.

    Args:
        body: The bytes as they are sent.
        id: Of the event; the same in every attempt.
        timestamp: Of this attempt, in seconds since 1970.
        keys: What it is signed with; a receiver accepts any one of the signatures.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, "sha256") for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests),
    }
