"""Tests of `router.failures`: what is put on record of a call that failed, and what is not."""

import httpx2

from router.exchanges import Exchange
from router.failures import MAX_TRACEBACK, make_failed

ASKED = [
    Exchange("GET", "https://crm/a?key=***", 200, 0.25),
    Exchange("POST", "https://crm/b", None, 5.0, "ReadTimeout"),
]


def raised(error: Exception) -> Exception:
    """Return ``error`` with the place that it came from."""
    try:
        raise error
    except Exception as found:
        return found


def test_what_was_asked_stands_beneath_the_traceback() -> None:
    """Each request has a line with its status, or what went wrong, and its time."""
    failed = make_failed(raised(KeyError("a")), started=1.0, ended=3.5, exchanges=ASKED)
    place, asked = (failed.failure.traceback or "").split("\nIt had asked by HTTP:\n")
    assert "test_failures.py" in place
    assert asked == (
        "  GET https://crm/a?key=***: 200 after 0.250 s\n"
        "  POST https://crm/b: ReadTimeout after 5.000 s\n"
    )
    assert (failed.failure.started_at, failed.failure.duration) == (1_000_000, 2.5)


def test_what_was_asked_is_kept_of_a_long_traceback() -> None:
    """The end of what is put on record is what is kept of it."""
    failed = make_failed(raised(ValueError("x" * 50_000)), started=0, ended=1, exchanges=ASKED)
    traceback = failed.failure.traceback or ""
    assert len(traceback) == MAX_TRACEBACK
    assert "POST https://crm/b: ReadTimeout" in traceback


def test_nothing_was_asked() -> None:
    """A call that asked nobody says nothing of it."""
    failed = make_failed(raised(KeyError("a")), started=0, ended=1)
    assert "HTTP" not in (failed.failure.traceback or "")


def test_secrets_in_urls_are_hidden() -> None:
    """An error of the client quotes the URL: its credentials are not put on record."""
    request = httpx2.Request("GET", "https://me:hunter2@crm/a?api_key=hunter2&page=2")
    answer = httpx2.Response(401, request=request)
    try:
        answer.raise_for_status()
    except httpx2.HTTPStatusError as error:
        failed = make_failed(error, started=0, ended=1)
    assert "hunter2" not in str(failed)
    assert "401" in failed.failure.error
    assert "page=2" in failed.failure.error
