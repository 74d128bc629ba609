"""What of the settings may be shown: secrets are replaced, references to them are not."""

import re
from collections.abc import Mapping

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

HIDDEN = "***"

_PRIVATE = r"secret|passw|pwd|token|credential|authorization|(?:api|private)_?key"
_PRIVATE_KEY = re.compile(_PRIVATE, re.IGNORECASE)
_PRIVATE_QUERY = re.compile(rf"([?&][^=&#\s]*(?:{_PRIVATE})[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)
_PATH_SECRET = re.compile(r"(/webhooks/[^/?#\s]+/)[^/?#\s]+")
_USERINFO = re.compile(r"(?<=://)\S+(?=@)")
# A callback may come without a scheme. What only looks like a port ends a host, not a name.
_BARE_USERINFO = re.compile(r"^(?:[^/\s]+|[^/:@\s]*:(?!//|\d+/)\S+)(?=@)")
_REFERENCES = ("env:", "file:")


def mask(value: object, *, private: bool = False) -> object:
    """Return ``value`` as it may be shown.

    What stands under a key such as ``app_secrets`` or ``password`` is hidden, with all below it,
    but for ``env:`` and ``file:`` references; so are the credentials inside of URLs.

    Args:
        value: Anything that a TOML file can hold.
        private: Whether it stands under such a key.
    """
    if isinstance(value, Mapping):
        return {key: mask(item, private=private or is_private(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item, private=private) for item in value]
    if isinstance(value, str) and value.startswith(_REFERENCES):
        return value
    if private:
        return HIDDEN
    return mask_text(value) if isinstance(value, str) else value


def is_private(key: str) -> bool:
    """Whether what stands under ``key`` is a secret."""
    return _PRIVATE_KEY.search(key) is not None


def mask_database(url: str) -> str:
    """Return a database URL without its credentials; all of it is hidden where it is none."""
    if url.startswith(_REFERENCES):
        return url
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return HIDDEN
    return _PRIVATE_QUERY.sub(rf"\1{HIDDEN}", shown)


def mask_callback(url: str) -> str:
    """Return the URL of a route of ours without credentials, those in its path too.

    It may have no scheme, as Meta's example of ``webhooks.url``: ``***@router/webhooks/wa``.
    """
    shown = _BARE_USERINFO.sub(HIDDEN, mask_text(url))
    return _PATH_SECRET.sub(rf"\1{HIDDEN}", shown)


def mask_text(text: str) -> str:
    """Return ``text`` with the credentials hidden that URLs in it hold."""
    return _PRIVATE_QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(HIDDEN, text))
