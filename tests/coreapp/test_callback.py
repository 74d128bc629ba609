"""Callbacks: what a source asks for is put into the URL, or cannot be."""

import asyncio
from collections.abc import Mapping

import httpx2
import pytest

from router import Router
from router.coreapp.callback import make_callback
from router.errors import ConfigError
from router.plugins.whatsapp import WhatsAppAdapter
from router.serving import serving
from router.sources import Source

# One engine is enough: what is tested is HTTP.
pytestmark = pytest.mark.engines("sqlite")

PASSWORD = "a/b c%:@!ü"


def make(**settings: object) -> Source:
    """A source with these settings."""
    return WhatsAppAdapter().make_source("core", settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"verification": "none"}, "https://router:1/webhooks/core"),
        ({"verification": "path", "secrets": ["s-1"]}, "https://router:1/webhooks/core/s-1"),
        (
            {"verification": "basic", "users": [{"username": "u@", "password": "p:/"}]},
            "https://u%40:p%3A%2F@router:1/webhooks/core",
        ),
    ],
)
def test_credentials_are_put_into_the_url(settings: Mapping[str, object], expected: str) -> None:
    """Path, secret and user are all that a sender needs to be told."""
    assert make_callback(make(**settings), router="https://router:1/") == expected


@pytest.mark.parametrize(
    "settings",
    [{"app_secrets": ["x"]}, {"verification": "bearer", "tokens": ["x"]}],
)
def test_what_no_url_can_hold_is_refused(settings: Mapping[str, object]) -> None:
    """No Coreapp can be asked for a signature or a bearer token; what it can is named."""
    with pytest.raises(ConfigError, match=r'"path" or "basic"'):
        make_callback(make(**settings), router="https://router")


@pytest.mark.parametrize("router", ["foo", "", "https://[bad]", "https://h:99999", "me:pw@foo"])
def test_a_router_that_is_nowhere_is_refused(router: str) -> None:
    """What is no URL is told as that, and without what opens it."""
    source = make(verification="basic", users=[{"username": "u", "password": "p"}])

    with pytest.raises(ConfigError, match=r"the router's URL .* is no URL") as refused:
        make_callback(source, router=router)

    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"verification": "path", "secrets": ["s~1.2-3"]},
        {"verification": "basic", "users": [{"username": "core", "password": PASSWORD}]},
    ],
)
def test_the_router_takes_what_is_sent_there(database: str, settings: Mapping[str, object]) -> None:
    """Who posts to the URL, and knows nothing else, is answered 200."""
    source = make(**settings)

    def post(url: str) -> int:
        return httpx2.post(url, content=b"{}", trust_env=False).status_code

    async def work() -> int:
        router = Router(database, sources=[source])
        async with serving(router, host="127.0.0.1", port=0) as served:
            return await asyncio.to_thread(post, make_callback(source, router=served.address))

    assert asyncio.run(work()) == 200
