"""Tests of `router parse`: what an adapter finds in a file, without configuration or database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import samples
from tests.cli.conftest import Run

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

FIELDS = ["position", "id", "type", "subtype", "source", "channel", "subject", "external_id"]
FIELDS += ["occurred_at", "received_at", "notification_id", "path", "payload"]
ASSIGNED = ("position", "id", "source", "received_at", "notification_id")  # by the log alone

ADAPTER = """
from router import hookimpl
from router.events import Draft
class Adapter:
    def make_source(self, name, settings, *, folder=None): ...
    def split(self, body):
        {split}
@hookimpl
def sources():
    return {{"own": Adapter()}}
"""


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Callable[[str], list[str]]:
    """Writes an adapter whose ``split`` does this; returns the options that use it."""

    def own(split: str) -> list[str]:
        (tmp_path / "handlers").mkdir()
        (tmp_path / "handlers" / "own.py").write_text(ADAPTER.format(split=split))
        return ["--adapter", "own", "--plugins-dir", "handlers"]

    return own


def test_events_are_printed_one_a_line(run: Run, tmp_path: Path) -> None:
    """Each has all agreed fields; what only the log assigns is null."""
    (tmp_path / "body.json").write_bytes(samples.as_body(samples.cloud_batch()))

    result = run("parse", "body.json", "--adapter", "whatsapp", "--json")

    assert (result.code, result.err) == (0, "")
    types = [event["type"] for event in result.lines]
    assert types == ["message", "message", "delivered", "error", "other"]
    for event in result.lines:
        assert list(event) == FIELDS
        assert [event[name] for name in ASSIGNED] == [None] * 5
    assert result.lines[0]["subject"] == f"{samples.NUMBER}:{samples.CUSTOMER}"
    assert result.lines[0]["payload"] == samples.text_message(1)


def test_a_file_may_come_through_a_pipe(run: Run) -> None:
    """- is stdin; a person gets a table."""
    body = samples.as_body(samples.onprem_text())

    result = run("parse", "-", "--adapter", "whatsapp", stdin=body)

    heading, line = result.out.splitlines()
    assert heading.split()[:3] == ["TYPE", "SUBTYPE", "CHANNEL"]
    assert line.split()[:4] == ["message", "text", "-", f":{samples.CUSTOMER}"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"{} {}", b'{"a": "\xff"}'])
def test_what_is_answered_400_is_a_failure(run: Run, body: bytes) -> None:
    """It exits 1 with the reason, and prints no event."""
    result = run("parse", "-", "--adapter", "whatsapp", "--json", stdin=body)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("Error: the body is not one JSON value in UTF-8: ")


def test_a_reason_is_given_once(run: Run) -> None:
    """The words of the error beneath are not repeated."""
    result = run("parse", "-", "--adapter", "whatsapp", stdin=b"{")

    assert result.err.count("double quotes") == 1


def test_a_malformed_element_is_a_problem(run: Run) -> None:
    """It exits 3, prints all events and names the place of the one that cannot be read."""
    body = samples.as_body({"messages": [samples.text_message(), 7]})

    result = run("parse", "-", "--adapter", "whatsapp", "--json", stdin=body)

    assert result.code == 3
    assert [event["subtype"] for event in result.lines] == ["text", "malformed"]
    assert result.lines[1]["payload"] == 7
    assert result.err == "1 of 2 events are malformed: $.messages[1]\n"


def test_half_a_surrogate_pair_goes_out_escaped(run: Run) -> None:
    """What UTF-8 cannot hold is no reason to print nothing."""
    body = b'{"messages": [{"from": "5", "id": "w", "type": "text", "text": {"body": "\\ud83d"}}]}'

    [event] = run("parse", "-", "--adapter", "whatsapp", "--json", stdin=body).lines

    assert event["payload"]["text"]["body"] == "\ud83d"


def test_an_unknown_adapter_is_told_with_a_guess(run: Run) -> None:
    """It exits 1 and says what was perhaps meant."""
    result = run("parse", "-", "--adapter", "whatsap", stdin=b"{}")

    assert (result.code, result.out) == (1, "")
    assert "the adapter 'whatsap' is unknown: did you mean whatsapp?" in result.err


def test_a_broken_plugin_is_named_where_its_adapter_is_missed(run: Run, tmp_path: Path) -> None:
    """Whoever looks for an adapter learns why it is not there."""
    (tmp_path / "own.py").write_text("import no_such_module")

    result = run("parse", "-", "--adapter", "own", "--plugins-dir", str(tmp_path), stdin=b"{}")

    assert result.code == 1
    assert "plugin 'own' cannot be used: it cannot be imported" in result.err


@pytest.mark.parametrize(
    "split",
    [
        "raise KeyError('id')",
        "return None",
        "return [Draft(path='here', type='message', subtype='text')]",
        "return [Draft(path='$', type='letter', subtype='text')]",
    ],
)
def test_an_adapter_that_breaks_its_promise_costs_only_the_types(
    run: Run, own: Callable[[str], list[str]], split: str
) -> None:
    """As in the receiver, the body becomes one malformed event; here the reason is told."""
    result = run("parse", "-", *own(split), "--json", stdin=b'{"a": 1}')

    assert result.code == 3
    [event] = result.lines
    assert (event["type"], event["subtype"], event["path"]) == ("other", "malformed", "$")
    assert event["payload"] == {"a": 1}
    assert result.err.startswith("the adapter failed, ")


def test_an_adapter_may_find_nothing_or_point_nowhere(
    run: Run, own: Callable[[str], list[str]]
) -> None:
    """A path without an element has no payload, and a body need not be JSON."""
    options = own("return [Draft(path='$.gone', type='message', subtype='text')]")

    [event] = run("parse", "-", *options, "--json", stdin=b"no JSON").lines

    assert event["payload"] is None


def test_neither_configuration_nor_database_is_needed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that nobody can read as settings, and no database, change nothing."""
    (tmp_path / "router.toml").write_text("= broken")
    monkeypatch.setenv("ROUTER_DATABASE", "sqlite:///nowhere/router.db")

    result = run("parse", "-", "--adapter", "whatsapp", "--json", stdin=b"{}")

    assert (result.code, len(result.lines)) == (0, 1)


def test_a_missing_file_is_a_usage_error(run: Run) -> None:
    """It exits 2 and names the file."""
    result = run("parse", "gone.json", "--adapter", "whatsapp")

    assert (result.code, "gone.json" in result.err) == (2, True)


def test_the_samples_are_printed_as_json(run: Run, corpus: Path) -> None:
    """Every notification among the samples can be parsed, and what is printed is JSON."""
    for path in sorted(corpus.glob("*/*.json")):
        result = run("parse", str(path), "--adapter", "whatsapp", "--json")
        assert result.code in (0, 1, 3), path
        assert (result.code == 1) == (result.lines == []), path
        assert all(json.dumps(event["payload"]) for event in result.lines)


def test_the_handlers_that_are_for_an_event_are_named(run: Run, tmp_path: Path) -> None:
    """By plugin and hook, where it is asked for; a plugin that is broken is told."""
    handlers = tmp_path / "handlers"
    handlers.mkdir()
    hook = "@hookimpl\ndef {}(event): ...\n"
    (handlers / "crm.py").write_text(
        "from router import hookimpl\n" + hook.format("on_message") + hook.format("on_event")
    )
    (handlers / "audit.py").write_text("from router import hookimpl\n" + hook.format("on_message"))
    (handlers / "bad.py").write_text("1 +")
    (tmp_path / "body.json").write_bytes(samples.as_body(samples.cloud_batch()))
    words = ("parse", "body.json", "--adapter", "whatsapp", "--plugins-dir", "handlers")

    result = run(*words, "--plugins", "--json")

    assert result.code == 0
    assert "plugin 'bad' cannot be used" in result.err
    assert list(result.lines[0]) == [*FIELDS, "handlers"]
    assert [event["handlers"] for event in result.lines] == [
        ["audit.on_message", "crm.on_message"],
        ["audit.on_message", "crm.on_message"],
        ["crm.on_event"],
        ["crm.on_event"],
        ["crm.on_event"],
    ]
    assert "audit.on_message, crm.on_message" in run(*words, "--plugins").out
    assert list(run(*words, "--json").lines[0]) == FIELDS
