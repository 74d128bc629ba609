"""Masks: what is hidden of settings that are shown, and what stays readable."""

import pytest

from router.masks import mask, mask_callback, mask_database


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"app_secrets": ["one", "env:WA_SECRET"]}, {"app_secrets": ["***", "env:WA_SECRET"]}),
        ({"verify_token": "file:secrets/wa"}, {"verify_token": "file:secrets/wa"}),
        ({"PASSWORD": "hunter2"}, {"PASSWORD": "***"}),
        (
            {"users": [{"username": "coreapp", "password": "hunter2"}]},
            {"users": [{"username": "coreapp", "password": "***"}]},
        ),
        ({"tokens": {"a": 1, "b": ["x"]}}, {"tokens": {"a": "***", "b": ["***"]}}),
        ({"api_key": "k", "apikey": "k"}, {"api_key": "***", "apikey": "***"}),
        ({"headers": {"Authorization": "Bearer x"}}, {"headers": {"Authorization": "***"}}),
        ({"url": "https://u:p@ss/w@crm/x"}, {"url": "https://***@crm/x"}),
        ({"url": "https://tok@crm/x"}, {"url": "https://***@crm/x"}),
        (
            {"url": "https://crm/x?a=1&access_token=t&b=2#c"},
            {"url": "https://crm/x?a=1&access_token=***&b=2#c"},
        ),
    ],
)
def test_hides_secrets(settings: dict[str, object], shown: dict[str, object]) -> None:
    """What a key or a URL marks as secret is hidden, and where it is kept is not."""
    assert mask(settings) == shown


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter": "whatsapp", "channel": "+5215512345678", "verification": "none"},
        {"rate": 200, "jitter": True, "columns": ["key", "author"], "mail": "a@b.example"},
        {"url": "https://crm.internal/path?page=2"},
        {},
    ],
)
def test_shows_everything_else(settings: dict[str, object]) -> None:
    """What is no secret is shown as it is written."""
    assert mask(settings) == settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///router.db", "sqlite:///router.db"),
        ("postgresql+psycopg://me:pw@db/log", "postgresql+psycopg://me:***@db/log"),
        (
            "postgresql://db/log?password=pw&sslmode=require",
            "postgresql://db/log?password=***&sslmode=require",
        ),
        ("env:DATABASE_URL", "env:DATABASE_URL"),
        ("file:secrets/db", "file:secrets/db"),
        ("me:pw@db", "***"),
        ("postgresql://me:pw@db:port/log", "***"),
    ],
)
def test_hides_what_opens_a_database(url: str, shown: str) -> None:
    """A database URL is shown without its credentials, and not at all where it cannot be read."""
    assert mask_database(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://core:pw@router/webhooks/core", "https://***@router/webhooks/core"),
        ("core:pw@router.internal/webhooks/core", "***@router.internal/webhooks/core"),
        ("tok@router:8443/webhooks/core/s3cret", "***@router:8443/webhooks/core/***"),
        ("core:p/w@router/webhooks/core", "***@router/webhooks/core"),
        ("core:p@w@router/webhooks/core", "***@router/webhooks/core"),
        ("router.internal/webhooks/core", "router.internal/webhooks/core"),
        ("router:8443/webhooks/a@b", "router:8443/webhooks/a@b"),
        ("router/webhooks/a@b", "router/webhooks/a@b"),
        ("https://router/webhooks/core/s3cret", "https://router/webhooks/core/***"),
    ],
)
def test_hides_what_opens_a_callback(url: str, shown: str) -> None:
    """Credentials of a callback are hidden with and without a scheme; host and path are shown."""
    assert mask_callback(url) == shown
