"""Tests of `router dead`: deliveries that were given up, and why."""

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

FIELDS = ["subscription", "position", "type", "subject", "attempts", "error", "parked_at"]


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Four events; dead letters of crm at 1 and 4, of mail at 1, and one of a replay."""
    append_messages(log, ["ana", "ben", "cem"])
    append(log, make_entry("dee", "sent"))
    for name in ("crm", "mail"):
        subscribe(log, name)
    for name, position in (("crm", 1), ("crm", 4), ("mail", 1)):
        park(log, position, name=name, error=f"ValueError: {name}\nmore")
    park(log, 2, run=7)
    return log


def places(run: Run, *options: str) -> list[tuple[str, int]]:
    """Return where the listed dead letters are."""
    data = run("dead", "list", "--json", *options).data
    return [(one["subscription"], one["position"]) for one in data]


def test_dead_letters_are_listed(full: EventLog, run: Run) -> None:
    """Each has the agreed fields, in order of subscription and position."""
    result = run("dead", "list", "--json")

    assert result.code == 0
    assert [list(one) for one in result.data] == [FIELDS] * 3
    assert places(run) == [("crm", 1), ("crm", 4), ("mail", 1)]
    assert result.data[0]["parked_at"] == "2023-11-14T22:13:20Z"


def test_dead_letters_are_chosen(full: EventLog, run: Run) -> None:
    """By all that the filters name, and by the replay that they are of."""
    assert places(run, "--subscription", "mail") == [("mail", 1)]
    assert places(run, "--subscription", "mail", "--subscription", "crm", "--type", "sent") == [
        ("crm", 4)
    ]
    assert places(run, "--subject", ":dee", "--error", "ERROR: CRM") == [("crm", 4)]
    assert places(run, "--since", "2023-11-14T22:13:21Z") == []
    assert places(run, "--until", "2023-11-14T22:13:20Z") == []
    assert len(places(run, "--since", "2023-11-14T22:13:20Z", "--until", "1s")) == 3
    assert places(run, "--replay", "7") == [("crm", 2)]
    assert places(run, "--replay", "8") == []


def test_dead_letters_come_in_pages(full: EventLog, run: Run) -> None:
    """The cursor of one page begins the next, until there is none."""
    found = []
    cursor: str | None = "0:"
    while cursor is not None:
        found += places(run, "--limit", "1", "--cursor", cursor)
        page = run("dead", "list", "--json", "--limit", "1", "--cursor", cursor)
        cursor = page.json["next_cursor"]

    assert found == [("crm", 1), ("crm", 4), ("mail", 1)]


@pytest.mark.parametrize("cursor", ["x", "x:crm", ":crm", f"{2**63}:crm", "\u00b2:crm"])
def test_a_wrong_cursor_is_a_usage_error(run: Run, cursor: str) -> None:
    """It exits 2 and names the option."""
    result = run("dead", "list", "--cursor", cursor)

    assert (result.code, "--cursor" in result.err) == (2, True)


def test_a_person_gets_a_line_for_each(full: EventLog, run: Run) -> None:
    """With the first line of what the handler raised."""
    heading, *lines = run("dead", "list").out.splitlines()

    assert heading.split()[:2] == ["SUBSCRIPTION", "POSITION"]
    assert [line.split()[:3] for line in lines] == [
        ["crm", "1", "message"],
        ["crm", "4", "sent"],
        ["mail", "1", "message"],
    ]
    assert lines[0].endswith("ValueError: crm")


def test_none_is_an_empty_list(run: Run) -> None:
    """Nothing on stdout, and no failure."""
    result = run("dead", "list")

    assert (result.code, result.out, result.err) == (0, "", "There are no such dead letters.\n")


def test_one_is_shown_with_its_attempts(full: EventLog, run: Run) -> None:
    """The fields, then every call with its traceback; of a replay where asked."""
    letter = run("dead", "show", "crm", "4", "--json").data
    assert list(letter) == [*FIELDS, "history"]
    [attempt] = letter["history"]
    assert (attempt["number"], attempt["outcome"], attempt["duration"]) == (1, "failed", 0.25)
    assert attempt["traceback"].startswith("Traceback")
    assert run("dead", "show", "crm", "2", "--replay", "7", "--json").data["position"] == 2

    shown = run("dead", "show", "crm", "4").out
    assert "error:         ValueError: crm\\nmore\n" in shown
    assert "\nattempt 1, 2023-11-14T22:13:20Z: failed after 0.250 s\nTraceback …\n" in shown


def test_what_is_not_dead_is_a_failure(full: EventLog, run: Run) -> None:
    """It exits 1, also for what only waits for another attempt."""
    park(full, 3, next_at=1)

    for position in ("2", "3"):
        result = run("dead", "show", "crm", position)
        assert (result.code, result.out) == (1, "")
        assert "`router dead list`" in result.err


def test_errors_are_counted(full: EventLog, run: Run) -> None:
    """With --by-error a page tells of errors, the most frequent first."""
    park(full, 3, name="mail", error="KeyError: 'a'")
    options = ("dead", "list", "--by-error", "--limit", "2")

    page = run(*options, "--json").json
    rest = run(*options, "--json", "--cursor", page["next_cursor"]).json

    assert [(one["count"], one["subscription"]) for one in page["data"]] == [
        (2, "crm"),
        (1, "mail"),
    ]
    assert [(one["error"], one["position"]) for one in rest["data"]] == [
        ("ValueError: mail\nmore", 1)
    ]
    assert rest["next_cursor"] is None
    assert run(*options).out.splitlines()[1].split() == [
        "2",
        "crm",
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20Z",
        "1",
        "ValueError:",
        "crm",
    ]


def test_an_unknown_subscription_is_a_failure(full: EventLog, run: Run) -> None:
    """It exits 1 and says which there are, whatever is asked."""
    for command in (
        ["list"],
        ["list", "--by-error"],
        ["redrive", "--yes"],
        ["discard", "--dry-run"],
    ):
        result = run("dead", *command, "--subscription", "cmr")
        assert (result.code, result.out) == (1, "")
        assert "'cmr' is unknown: did you mean crm? Known are crm, mail" in result.err
