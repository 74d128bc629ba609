"""Tests of `router events`: what the log holds is listed, shown and exported."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.events import Draft, Entry, Notification
from router.log import EventLog
from tests.cli.conftest import Result, Run, Start
from tests.entries import NOON, append, append_messages, make_entry
from tests.histories import park, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

FIELDS = ["position", "id", "type", "subtype", "source", "channel", "subject", "external_id"]
FIELDS += ["occurred_at", "received_at", "notification_id", "path", "payload"]


def positions(result: Result) -> list[int]:
    """Return the positions of the listed events."""
    return [event["position"] for event in result.data]


def test_a_list_ascends_with_all_fields(log: EventLog, run: Run) -> None:
    """Each event has the agreed fields, in order of position."""
    append(log, make_entry("ana", text="hi"), make_entry("ben", "sent", channel="1"))

    result = run("events", "list", "--json")

    assert (result.code, result.json["next_cursor"]) == (0, None)
    first, second = result.data
    assert list(first) == FIELDS
    assert (first["position"], second["position"]) == (1, 2)
    assert (second["type"], second["subject"]) == ("sent", "1:ben")
    assert first["received_at"] == "2026-01-01T12:00:00Z"
    assert first["payload"]["text"] == "hi"


def test_an_empty_log_is_an_empty_list(run: Run) -> None:
    """Nothing on stdout but for programs, and no failure."""
    assert run("events", "list").out == ""
    assert run("events", "list").err == "The log is empty.\n"
    assert run("events", "list", "--json").data == []


@pytest.mark.parametrize("count", [249, 250, 251])
def test_every_event_is_reached_by_cursors(log: EventLog, run: Run, count: int) -> None:
    """Going on from cursor to cursor gives each event once; the last page has none."""
    append_messages(log, ["ana"] * count)
    found: list[int] = []
    cursor: str | None = "0"
    while cursor is not None:
        result = run("events", "list", "--json", "--limit", "50", "--cursor", cursor)
        found += positions(result)
        cursor = result.json["next_cursor"]

    assert found == list(range(1, count + 1))


def test_a_person_is_told_how_to_go_on(log: EventLog, run: Run) -> None:
    """Where there is more, stderr names the cursor; stdout holds the heading and the events."""
    append_messages(log, ["ana"] * 3)

    result = run("events", "list", "--limit", "2")

    assert [line.split()[0] for line in result.out.splitlines()] == ["POSITION", "1", "2"]
    assert result.err == "There are more: --cursor 2\n"


def test_a_cursor_and_a_start_agree(log: EventLog, run: Run) -> None:
    """Whoever repeats --after with a cursor goes on behind both."""
    append_messages(log, ["ana"] * 5)

    assert positions(run("events", "list", "--json", "--after", "2")) == [3, 4, 5]
    assert positions(run("events", "list", "--json", "--after", "2", "--cursor", "3")) == [4, 5]
    assert positions(run("events", "list", "--json", "--after", "3", "--cursor", "1")) == [4, 5]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--type", "sent"], [2]),
        (["--type", "sent", "--type", "read"], [2, 3]),
        (["--subtype", "image"], [4]),
        (["--source", "other"], [5]),
        (["--channel", "49"], [2]),
        (["--subject", "49:ben"], [2]),
        (["--subject", ":ana"], [1]),
        (["--type", "message", "--source", "wa"], [1, 4]),
        (["--subtype", "none"], []),
    ],
)
def test_events_are_chosen(log: EventLog, run: Run, options: list[str], found: list[int]) -> None:
    """Each option narrows the list; one given again widens it by a value."""
    append(
        log,
        make_entry("ana"),
        make_entry("ben", "sent", channel="49"),
        make_entry("cem", "read"),
        make_entry("dee", subtype="image"),
        make_entry("eve", source="other"),
    )

    assert positions(run("events", "list", "--json", *options)) == found
    exported = run("events", "export", *options)
    assert [event["position"] for event in exported.lines] == found


def test_times_choose_by_when_it_was_received(log: EventLog, run: Run) -> None:
    """The beginning is within, the end is not; both may count back from now."""
    now = datetime.now(UTC)
    for moment in (NOON, NOON + timedelta(hours=1), now):
        append(log, make_entry(received_at=moment))

    since = run("events", "list", "--json", "--since", "2026-01-01T13:00:00Z")
    until = run("events", "list", "--json", "--until", "2026-01-01T13:00:00Z")
    recent = run("events", "list", "--json", "--since", "1h")
    assert (positions(since), positions(until), positions(recent)) == ([2, 3], [1], [3])


def test_one_event_is_shown_by_position_or_id(log: EventLog, run: Run) -> None:
    """Both lead to the same object."""
    append_messages(log, ["ana", "ben"])

    by_position = run("events", "show", "2", "--json")
    by_id = run("events", "show", by_position.data["id"], "--json")

    assert list(by_position.data) == FIELDS
    assert by_position.data == by_id.data
    assert by_position.data["subject"] == ":ben"


def test_a_person_sees_payload_and_headers(log: EventLog, run: Run) -> None:
    """The payload is laid out, control characters in it are not obeyed, the headers follow."""
    draft = Draft(path="$", type="message", subtype="text")
    body = '{"text": "grün \\u001b[31m \\ud800"}'.encode()
    log.append([Entry(Notification("wa", NOON, {"x-from": "a\x1bb"}, body), [draft])])

    shown = run("events", "show", "1").out

    assert "position:         1\n" in shown
    assert 'payload:\n{\n  "text": "grün \\u001b[31m \\ud800"\n}\n' in shown
    assert shown.endswith("headers:\nNAME    VALUE\nx-from  a\\x1bb\n")


@pytest.mark.parametrize("name", ["2", "0", "x", "99999999999999999999999", "-"])
def test_an_unknown_event_is_a_failure(log: EventLog, run: Run, name: str) -> None:
    """It exits 1 and says how to find events."""
    append_messages(log, ["ana"])

    result = run("events", "show", name)

    assert (result.code, result.out) == (1, "")
    assert "`router events list`" in result.err


def test_an_event_whose_path_leads_nowhere_can_be_shown(log: EventLog, run: Run) -> None:
    """What an adapter got wrong does not make history unreadable."""
    draft = Draft(path="$.messages[0]", type="message", subtype="text")
    log.append([Entry(Notification("wa", NOON, {}, b"{}"), [draft])])

    assert run("events", "show", "1", "--json").data["payload"] is None


def test_the_export_is_the_whole_log(log: EventLog, run: Run) -> None:
    """It has one object a line, without end at 100, with the flag or without."""
    append_messages(log, ["ana"] * 120)

    exported = run("events", "export")

    assert [event["position"] for event in exported.lines] == list(range(1, 121))
    assert list(exported.lines[0]) == FIELDS
    assert run("events", "export", "--json").out == exported.out
    assert [event["position"] for event in run("events", "export", "--after", "118").lines] == [
        119,
        120,
    ]


def test_a_reader_may_leave_early(log: EventLog, start: Start) -> None:
    """When the other end of the pipe is closed, the export ends without a complaint."""
    append(log, *(make_entry(text="x" * 1000) for _ in range(500)))

    with start("events", "export") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


@pytest.mark.parametrize("noun", ["events", "subscriptions", "replay", "dead", "workers"])
def test_no_plugin_is_loaded_to_look(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noun: str
) -> None:
    """History and progress can be read while the plugins are broken."""
    (tmp_path / "broken.py").write_text("open('loaded', 'w')")
    monkeypatch.setenv("ROUTER_PLUGINS_DIR", str(tmp_path))

    assert run(noun, "list", "--json").data == []
    assert not (tmp_path / "loaded").exists()


def test_an_event_is_shown_with_what_became_of_it(log: EventLog, run: Run) -> None:
    """For each subscription there is its state and why; the event is as it is without."""
    append_messages(log, ["ana", "ana"])
    subscribe(log, "audit", policies={"read": "skip"})
    subscribe(log, "crm")
    park(log, 1, name="crm", is_blocking=True)

    shown = run("events", "show", "2", "--json", "--plugins")

    assert list(shown.data) == [*FIELDS, "plugins"]
    audit, crm = shown.data["plugins"]
    assert list(crm) == ["subscription", "state", "why", "attempts", "next_at"]
    assert [(one["subscription"], one["state"]) for one in (audit, crm)] == [
        ("audit", "not matched"),
        ("crm", "blocked"),
    ]
    text = run("events", "show", "2", "--plugins")
    assert "SUBSCRIPTION  STATE        WHY" in text.out
    assert "crm           blocked      it waits behind position 1" in text.out
    assert "`router plugins check`" in text.err


def test_an_event_that_no_plugin_was_run_for_says_so(log: EventLog, run: Run) -> None:
    """There is nothing to list, and a person is told what to start."""
    append_messages(log, ["ana"])

    assert run("events", "show", "1", "--json", "--plugins").data["plugins"] == []
    assert "start `router serve`" in run("events", "show", "1", "--plugins").err
