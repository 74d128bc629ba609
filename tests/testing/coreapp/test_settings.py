"""Which settings are in force, and since when."""

import pytest

from router.testing.coreapp.settings import ApplicationSettings


def made(**changes: object) -> ApplicationSettings:
    """Settings of a Coreapp of today that differ like this."""
    return ApplicationSettings(version="v2.53.1", changes=changes)


def test_some_settings_wait_for_a_restart() -> None:
    """Persistence and concurrency read back at once, but are in force after a restart only."""
    settings = made()
    settings.change({"callback_persist": False, "webhooks": {"max_concurrent_requests": 2}})
    before = settings.in_force()
    waiting = settings.pending()
    settings.restart()

    assert (before.persist, before.concurrency) == (True, 6)
    assert waiting == ["callback_persist", "webhooks.max_concurrent_requests"]
    assert (settings.in_force().persist, settings.in_force().concurrency) == (False, 2)
    assert settings.pending() == []


def test_all_others_are_in_force_at_once() -> None:
    """URL, switches and delays wait for nothing; delays may be given as digits in a text."""
    settings = made()
    settings.change(
        {
            "callback_backoff_delay_ms": "500",
            "max_callback_backoff_delay_ms": 2000,
            "webhooks": {"url": "https://a.example/x", "message": {"read": False}},
        }
    )
    found = settings.in_force()

    assert (found.url, found.backoff, found.longest) == ("https://a.example/x", 0.5, 2.0)
    assert found.statuses == {"delivered", "failed"}


@pytest.mark.parametrize(
    ("changes", "is_on"),
    [
        ({}, False),
        ({"sent_status": True}, True),
        ({"sent_status": True, "webhooks": {"message": {"sent": False}}}, False),
        ({"sent_status": False, "webhooks": {"message": {"sent": True}}}, True),
        ({"sent_status": True, "webhooks": {"message": {"read": True}}}, True),
    ],
)
def test_the_newer_switch_is_preferred(changes: dict[str, object], *, is_on: bool) -> None:
    """`webhooks.message.sent` decides once it is set; before that, `sent_status` does."""
    assert ("sent" in made(**changes).in_force().statuses) is is_on


def test_a_url_without_a_scheme_is_https() -> None:
    """The page's own example has none; it reads back as it was set."""
    settings = made(webhooks={"url": "webhook.your-domain"})

    assert settings.in_force().url == "https://webhook.your-domain"
    assert settings.read()["webhooks"] == {
        "url": "webhook.your-domain",
        "max_concurrent_requests": 6,
        "message": {"sent": False, "delivered": True, "read": True},
    }


def test_what_was_read_is_a_copy() -> None:
    """Whoever changes what a GET gave changes no setting."""
    settings = made()
    read = settings.read()
    read["media"] = read["webhooks"] = None

    assert settings.read() != read


def test_pass_through_once_on_may_stay_or_go() -> None:
    """It is refused to be switched on again, not to be switched off."""
    settings = made(pass_through=True)
    settings.change({"pass_through": True})
    settings.change({"pass_through": False})

    assert settings.read()["pass_through"] is False
    assert settings.pending() == ["pass_through"]


def test_delays_grow_by_the_same_each_time() -> None:
    """3, 6, 9 … seconds, up to a quarter of an hour, which then repeats."""
    callback = made().in_force()
    delays = [callback.find_delay(failures) for failures in range(1, 303)]

    assert delays[:4] == [3, 6, 9, 12]
    assert delays[298:] == [897, 900, 900, 900]
