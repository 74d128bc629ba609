"""How a courier works, and what a callback URL comes to by it."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.errors import RouterError
from router.testing.coreapp.connections import Connection
from router.testing.coreapp.endpoint import Endpoint, make_context, read_url

EXPIRY = 86_400.0  # seconds; "generally 24 hours", says Meta's page
TIMEOUT = 20.0  # seconds for an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a courier works, apart from the settings of the Coreapp.

    Attributes:
        expiry: Seconds after which a notification is given up.
        timeout: Seconds that an answer may take.
        speed: How many times as fast the delays between attempts, and the expiry, pass.
        allows_http: Whether a callback without TLS is served; a Coreapp demands HTTPS.
        secret: The app secret that signs, as the Cloud API does; None signs nothing.
    """

    expiry: float = EXPIRY
    timeout: float = TIMEOUT
    speed: float = 1.0
    allows_http: bool = False
    secret: bytes | None = None


@dataclass(slots=True)
class Route:
    """What a URL and the trust in force come to; made anew when either changes.

    Attributes:
        key: The URL, and the PEM of the authorities that are trusted beside the system's.
        endpoint: Where it leads; None where nothing can be sent.
        reason: Why not.
        context: What verifies it, where it is HTTPS.
        idle: Connections that wait for work.
    """

    key: tuple[str, str]
    endpoint: Endpoint | None = None
    reason: str = ""
    context: ssl.SSLContext | None = None
    idle: list[Connection] = field(default_factory=list)

    def take_idle(self) -> Connection | None:
        """Return a connection that is open, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                return connection
        return None

    def close(self) -> None:
        """Close what waits for work."""
        for connection in self.idle:
            connection.abort()
        self.idle.clear()


def make_route(url: str, extra_ca: str, headers: Mapping[str, str], *, allows_http: bool) -> Route:
    """Return the route to ``url``; one to nowhere, with the reason, if nothing can be sent there.

    Args:
        url: The callback.
        extra_ca: The PEM of authorities that are trusted beside the system's.
        headers: Sent with each request.
        allows_http: Whether it may do without TLS.
    """
    key = (url, extra_ca)
    if not url:
        return Route(key, reason="no callback URL is set")
    try:
        endpoint = read_url(url, headers=headers)
        if endpoint.is_tls:
            return Route(key, endpoint, context=make_context(extra_ca))
    except RouterError as error:
        return Route(key, reason=str(error))
    if not allows_http:
        return Route(key, reason="the callback is not HTTPS")
    return Route(key, endpoint)
