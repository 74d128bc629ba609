"""Where notifications are sent: a URL, read once, and the requests that are sent there."""

import base64
import hashlib
import hmac
import re
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from router.errors import RouterError
from router.tls import trust_also

_PORTS = {"http": 80, "https": 443}
_HELP = "give one such as https://host/path"
_PASSWORD = re.compile(r"//[^/]*@")


class Endpoint(msgspec.Struct, frozen=True):
    """A callback URL.

    Attributes:
        host: Its host.
        port: Its port.
        is_tls: Whether it is HTTPS.
        head: A request's beginning, up to its length.
    """

    host: str
    port: int
    is_tls: bool
    head: bytes

    def write_request(self, body: bytes, *, secret: bytes | None = None) -> bytes:
        """Return the bytes of a POST.

        Args:
            body: What is posted.
            secret: The app's, with which the Cloud API signs; None signs nothing.
        """
        if secret is None:
            return b"%b%d\r\n\r\n%b" % (self.head, len(body), body)
        signature = hmac.digest(secret, body, hashlib.sha256).hex().encode()
        length = b"%b%d\r\nx-hub-signature-256: sha256=%b\r\n\r\n%b"
        return length % (self.head, len(body), signature, body)


def read_url(url: str, *, headers: Mapping[str, str] | None = None) -> Endpoint:
    """Return where ``url`` leads; a user and password in it are sent as Basic credentials.

    Args:
        url: The callback, with its scheme.
        headers: Sent with each request.

    Raises:
        RouterError: It is no URL that can be posted to.
    """
    shown = _PASSWORD.sub("//…@", url)  # what was in it is nobody else's business
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RouterError(f"{shown!r} is no URL: {error}; {_HELP}") from error
    if parts.scheme not in _PORTS or not host:
        raise RouterError(f"{shown!r} is no URL: {_HELP}")
    if any(not "!" <= one <= "~" for one in url):
        raise RouterError(f"{shown!r} is no URL: write what is beyond ASCII, and spaces, as %XX")
    lines = {"host": parts.netloc.rpartition("@")[2], "user-agent": "router-simulate"}
    lines |= {"content-type": "application/json", **_authorise(parts), **(headers or {})}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    written = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    head = f"POST {target} HTTP/1.1\r\n{written}content-length: ".encode("latin-1")
    scheme = parts.scheme
    return Endpoint(host, port or _PORTS[scheme], scheme == "https", head)


def make_context(extra_ca: str = "") -> ssl.SSLContext:
    """Return what verifies a callback: the system's authorities, and those in ``extra_ca``.

    Raises:
        RouterError: They cannot be read.
    """
    return trust_also(extra_ca) if extra_ca else ssl.create_default_context()


def write_basic(username: str, password: str) -> dict[str, str]:
    """Return the header of Basic credentials."""
    word = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"authorization": f"Basic {word}"}


def _authorise(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    return write_basic(unquote(parts.username), unquote(parts.password or ""))
