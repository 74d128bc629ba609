"""Tests of `router.cli.output`: JSON for programs, plain text for pipes, tables for terminals."""

import json
from datetime import UTC, datetime

import pytest

from router.cli import output
from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append, make_entry

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

Capture = pytest.CaptureFixture[bytes]
ESCAPE = "\x1b"


def test_json_stands_in_an_envelope(capsysbinary: Capture) -> None:
    """Every answer has a version, the data and where to go on."""
    output.print_json([1], next_cursor="7")

    assert capsysbinary.readouterr().out == b'{"version":1,"data":[1],"next_cursor":"7"}\n'


def test_json_is_valid_whatever_a_provider_sent(capsysbinary: Capture) -> None:
    """Half a surrogate pair goes out escaped, other text as UTF-8."""
    output.print_line({"body": "\ud800 é"})

    printed = capsysbinary.readouterr().out
    assert json.loads(printed.decode()) == {"body": "\ud800 é"}


def test_columns_stand_beneath_each_other(capsysbinary: Capture) -> None:
    """Plain tables are aligned by what the characters take up, and padded with nothing behind."""
    output.print_table(("name", "count"), [("日本", 1), ("a", 22)])

    assert capsysbinary.readouterr().out.decode() == "NAME  COUNT\n日本  1\na     22\n"


def test_a_table_without_rows_is_nothing(capsysbinary: Capture) -> None:
    """An empty list prints no heading, either."""
    output.print_table(("name",), [])

    assert capsysbinary.readouterr().out == b""


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (0, "0"),
        (200.0, "200"),
        (12345678.9, "12345678.9"),
        ([], "-"),
        (["a", "b"], "a, b"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ("a\nb\x1b[31m\u202e", r"a\nb\x1b[31m\u202e"),
    ],
)
def test_cells_are_plain_text_of_one_line(value: object, cell: str) -> None:
    """Nothing is empty, and what moves a cursor is escaped."""
    assert output.as_cell(value) == cell


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), (" a \nb", "a"), ("x" * 81, "x" * 79 + "…"), ("x" * 80, "x" * 80)]
)
def test_long_texts_are_cut_for_a_list(text: str, shown: str) -> None:
    """A list shows the first line, up to 80 characters of it."""
    assert output.first_line(text) == shown


def test_a_pipe_gets_no_escape_codes(log: EventLog, run: Run) -> None:
    """Neither we nor a provider's words put one there."""
    append(log, make_entry(subtype="\x1b[31mred"))

    result = run("events", "list")

    assert r"\x1b[31mred" in result.out
    assert ESCAPE not in result.out + result.err


def test_a_terminal_gets_a_styled_table(log: EventLog, on_terminal: Run) -> None:
    """On a terminal headings are bold; a provider's words are still only words."""
    append(log, make_entry(subtype="[red]\x1b[31m"))

    result = on_terminal("events", "list", COLUMNS="200")

    assert result.code == 0
    assert ESCAPE in result.out
    assert r"[red]\x1b[31m" in result.out


def test_a_terminal_may_be_given_no_escape_codes(log: EventLog, on_terminal: Run) -> None:
    """With NO_COLOR it gets what a pipe gets."""
    append(log, make_entry())

    result = on_terminal("events", "list", NO_COLOR="1")

    assert (result.code, result.out.split()[0]) == (0, "POSITION")
    assert ESCAPE not in result.out


def test_what_the_encoding_lacks_is_escaped(log: EventLog, on_terminal: Run) -> None:
    """A terminal that knows only ASCII, and no escape codes, is no reason to fail."""
    append(log, make_entry("żółw"))

    result = on_terminal("events", "list", TERM="dumb", PYTHONIOENCODING="ascii")

    assert (result.code, ESCAPE in result.out) == (0, False)
    assert r":\u017c\xf3\u0142w" in result.out
