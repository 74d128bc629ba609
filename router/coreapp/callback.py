"""The callback of a source: the URL that a Coreapp is given, all credentials in it."""

import base64
from urllib.parse import quote

import httpx2

from router.errors import ConfigError
from router.outgoing import require_https
from router.sources import Source


def make_callback(source: Source, *, router: str) -> str:
    """Return the URL at which ``source`` takes notifications of a sender that knows nothing else.

    Args:
        source: Whose first credentials are put into the URL.
        router: Where the router is, seen from the sender, such as ``https://router.internal:8443``.

    Raises:
        ConfigError: The source asks for what no URL can hold: a signature, or a bearer token; or
            ``router`` is no URL. HTTP is not refused here.
    """
    require_https(router, what="the router's URL", allow_http=True)
    signed = source.sign(b"")
    url = f"{router.rstrip('/')}/webhooks/{quote(source.name, safe='')}"
    if signed.secret:
        url += f"/{quote(signed.secret, safe='')}"
    headers = {name.lower(): value for name, value in signed.headers.items()}
    scheme, _, pair = headers.pop("authorization", "").partition(" ")
    if headers or scheme.lower() not in ("", "basic"):
        raise ConfigError(
            f"the source {source.name!r} asks for more than a URL can hold, and a Coreapp is given "
            'nothing else: set its verification to "path" or "basic"'
        )
    if not pair:
        return url
    name, _, password = base64.b64decode(pair).decode().partition(":")
    userinfo = f"{quote(name, safe='')}:{quote(password, safe='')}".encode()
    return str(httpx2.URL(url).copy_with(userinfo=userinfo))
