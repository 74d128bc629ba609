"""Tests of `router timeline`: one message, or a conversation, from the database alone."""

from pathlib import Path

import pytest

from router import plugin_tables
from router.plugins.timeline.model import METADATA
from router.store import Store
from tests import samples
from tests.cli.conftest import Run
from tests.plugins.timelines import at, handle, make_events

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SUBJECT = f"{samples.NUMBER}:{samples.CUSTOMER}"


def tell(store: Store, *bodies: samples.Json, channel: str = "") -> None:
    """Have the plugin handle the events in these bodies."""
    plugin_tables.create(store.engine, {"timeline": METADATA})
    with store.writing() as connection:
        for body in bodies:
            handle(connection, make_events(samples.as_body(body), channel=channel))


@pytest.fixture
def told(store: Store) -> Store:
    """A message that failed, and then was delivered, after the customer wrote."""
    failed = samples.failure(timestamp=at(1), pricing=None)
    details = {"details": "No such account."}
    failed["errors"] = [samples.error(131026, error_data=details), samples.error(131000)]
    delivered = samples.status("delivered", timestamp=at(2))
    tell(
        store,
        samples.cloud_value(
            messages=[samples.text_message()], statuses=[samples.status(), failed, delivered]
        ),
    )
    return store


def test_a_message_is_shown(told: Store, run: Run) -> None:
    """For programs with all fields, whether there is something in them or not."""
    result = run("timeline", "wamid.OUT1", "--json")

    assert (result.code, result.json["next_cursor"]) == (0, None)
    assert list(result.data) == [
        "message_id",
        "channel",
        "subject",
        "state",
        "sent_at",
        "delivered_at",
        "read_at",
        "played_at",
        "failed_at",
        "errors",
        "pricing",
    ]
    assert (result.data["state"], result.data["read_at"]) == ("delivered", None)
    assert result.data["failed_at"] == "2026-09-21T14:13:21Z"
    assert [error["code"] for error in result.data["errors"]] == [131026, 131000]
    assert result.data["pricing"]["category"] == "utility"


def test_a_person_reads_what_went_wrong(told: Store, run: Run) -> None:
    """The errors stand there with code, title and details."""
    lines = dict(line.split(":", 1) for line in run("timeline", "wamid.OUT1").out.splitlines())

    assert lines["state"].strip() == "delivered"
    assert lines["played at"].strip() == "-"
    assert lines["errors"].strip() == (
        "131026 Something went wrong: No such account.; 131000 Something went wrong"
    )
    assert lines["pricing"].strip().startswith('{"billable":true,')


@pytest.mark.parametrize(
    ("errors", "shown"),
    [
        ([{"code": 470, "title": "Outside window", "details": "24 h"}], "470 Outside window: 24 h"),
        ([{"code": 1, "message": "Why", "error_data": {"details": "Why"}}], "1 Why"),
        ([{"code": 400}], "400"),
        ([{"href": "x"}], '{"href":"x"}'),
        (["odd"], '"odd"'),
        ("odd", '"odd"'),
    ],
)
def test_errors_have_many_shapes(store: Store, run: Run, errors: object, shown: str) -> None:
    """On-Premises, Cloud, and what nobody foresaw."""
    tell(store, {"statuses": [samples.status("failed", errors=errors)]})

    assert f"errors:        {shown}\n" in run("timeline", "wamid.OUT1").out


def test_a_conversation_is_listed(told: Store, run: Run) -> None:
    """In order of position; a page goes on where the one before it ended."""
    result = run("timeline", "--subject", SUBJECT, "--json", "--limit", "3")

    assert [list(step) for step in result.data] == [
        ["position", "subject", "at", "type", "subtype", "message_id", "errors"]
    ] * 3
    assert [step["subtype"] for step in result.data] == ["text", "sent", "failed"]
    assert result.data[0]["at"] == "2026-09-21T14:13:20Z"
    cursor = result.json["next_cursor"]
    rest = run("timeline", "--subject", SUBJECT, "--json", "--cursor", cursor)
    assert [step["subtype"] for step in rest.data] == ["delivered"]
    assert rest.json["next_cursor"] is None


def test_a_person_gets_a_line_for_each_step(told: Store, run: Run) -> None:
    """With the errors in words."""
    result = run("timeline", "--subject", SUBJECT, "--limit", "3")
    heading, *lines = result.out.splitlines()

    assert heading.split() == ["POSITION", "AT", "TYPE", "SUBTYPE", "MESSAGE", "ID", "ERRORS"]
    assert lines[0].split() == ["1", "2026-09-21T14:13:20Z", "message", "text", "wamid.IN1", "-"]
    assert "131026 Something went wrong: No such account." in lines[2]
    assert result.err == "There are more: --cursor 3\n"


def test_an_unknown_subject_has_no_steps(told: Store, run: Run) -> None:
    """It is an empty list, with a hint for a person."""
    assert run("timeline", "--subject", "nobody", "--json").data == []
    result = run("timeline", "--subject", "nobody")
    assert (result.code, result.out) == (0, "")
    assert "router replay start timeline" in result.err


@pytest.mark.parametrize("message", ["wamid.IN1", "wamid.OUT7"])
def test_an_unknown_message_is_a_failure(told: Store, run: Run, message: str) -> None:
    """It exits 1, as one of the customer's does, and says what is known."""
    result = run("timeline", message)

    assert (result.code, result.out) == (1, "")
    assert f"no status of a message '{message}'" in result.err


def test_a_channel_tells_two_messages_apart(store: Store, run: Run) -> None:
    """Where two have one id, the command asks which one is meant."""
    body: samples.Json = {"statuses": [samples.status()]}
    tell(store, body, channel="+1")
    tell(store, body, channel="+2")

    result = run("timeline", "wamid.OUT1")
    assert (result.code, "'+1', '+2'" in result.err) == (1, True)
    assert "--channel" in result.err
    assert run("timeline", "wamid.OUT1", "--channel", "+2", "--json").data["channel"] == "+2"
    assert run("timeline", "wamid.OUT1", "--channel", "+3").code == 1


@pytest.mark.parametrize("arguments", [["wamid.OUT1"], ["--subject", SUBJECT, "--json"]])
def test_without_the_plugin_it_says_how_to_switch_it_on(run: Run, arguments: list[str]) -> None:
    """It exits 1, and names the four steps."""
    result = run("timeline", *arguments)

    assert (result.code, result.out) == (1, "")
    for step in (
        "[plugins.timeline]",
        "`router db upgrade`",
        "`router serve`",
        "`router replay start timeline`",
    ):
        assert step in result.err


def test_no_plugin_is_loaded(told: Store, run: Run, tmp_path: Path) -> None:
    """A broken plugin does not stand in the way of a look."""
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "bad.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n[plugins.timeline]\n')

    assert run("timeline", "wamid.OUT1").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["wamid.OUT1", "--subject", SUBJECT],
        ["wamid.OUT1", "--cursor", "3"],
        ["--subject", SUBJECT, "--channel", "+1"],
        ["--subject", SUBJECT, "--cursor", "x"],
        ["--subject", SUBJECT, "--limit", "0"],
    ],
)
def test_a_wrong_use_is_refused(run: Run, arguments: list[str]) -> None:
    """It exits 2: a message or a subject, and a cursor only with the list."""
    assert run("timeline", *arguments).code == 2
