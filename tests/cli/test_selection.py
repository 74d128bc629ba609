"""Tests of `router.cli.selection`: times on the command line, and pages of a list."""

from datetime import UTC, datetime, timedelta

import pytest

from router.cli.selection import parse_moment, take
from tests.cli.conftest import Run

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("0s", NOW),
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22t10:00:00z", NOW),
        ("2026-11-22 12:00:00+02:00", NOW),
        ("2026-11-22T10:00:00.25Z", NOW + timedelta(seconds=0.25)),
    ],
)
def test_a_time_is_absolute_or_relative(text: str, moment: datetime) -> None:
    """RFC 3339 and durations before now are understood; the answer is in UTC."""
    found = parse_moment(text, now=NOW)

    assert (found, found.tzinfo) == (moment, UTC)


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(
        ValueError, match="neither a time such as 2026-11-22T10:00:00Z nor a duration such as 2h"
    ):
        parse_moment(text, now=NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_before_all_time_is_refused(text: str) -> None:
    """What has no moment in UTC is an error like any other."""
    with pytest.raises(ValueError, match="neither a time"):
        parse_moment(text, now=NOW)


def test_a_time_without_offset_is_refused() -> None:
    """Nobody's clock is guessed."""
    with pytest.raises(ValueError, match="write 2026-11-22T10:00:00Z"):
        parse_moment("2026-11-22T10:00:00", now=NOW)


def test_a_page_knows_whether_there_is_more() -> None:
    """A page that is full is not the last one only if something follows."""
    assert take([1, 2, 3], 2) == ([1, 2], True)
    assert take([1, 2], 2) == ([1, 2], False)
    assert take([], 2) == ([], False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "soon"], "'soon' is neither a time"),
        (["--limit", "0"], "0 is not in the range"),
        (["--cursor", "x"], "'x' is not a valid integer"),
        (["--after", "-1"], "-1 is not in the range"),
        (["--after", str(2**63)], "is not in the range"),
    ],
)
def test_a_wrong_option_is_a_usage_error(run: Run, arguments: list[str], said: str) -> None:
    """It exits 2, says which option and what is wrong with it."""
    result = run("events", "list", *arguments)

    assert (result.code, result.out) == (2, "")
    assert f"'{arguments[0]}'" in result.err
    assert said in result.err


def test_a_wrong_type_is_told_the_six(run: Run) -> None:
    """A type that does not exist is a usage error that names all there are."""
    result = run("events", "list", "--type", "failed")

    assert result.code == 2
    for type_ in ("message", "sent", "delivered", "read", "error", "other"):
        assert f"'{type_}'" in result.err
