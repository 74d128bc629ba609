"""Tests of `router subscriptions`: how far each has come, and what holds it up."""

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append_messages
from tests.histories import park, settle, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

FIELDS = ["name", "checkpoint", "head", "lag", "lag_seconds", "retrying", "blocked", "dead"]
FIELDS += ["state", "last_error"]


def test_a_subscription_is_shown(log: EventLog, run: Run) -> None:
    """It has the agreed fields and figures."""
    append_messages(log, ["ana", "ben", "cem"])
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=1)
    park(log, 2, error="KeyError: 'a'\nmore")

    result = run("subscriptions", "show", "crm", "--json")

    crm = result.data
    assert (result.code, list(crm)) == (0, [*FIELDS, "state_reason", "lanes"])
    assert (crm["state"], crm["state_reason"], crm["lanes"]) == ("active", None, 1)
    assert (crm["checkpoint"], crm["head"], crm["lag"], crm["dead"]) == (1, 3, 2, 1)
    assert crm["lag_seconds"] > 0
    assert [list(one) for one in run("subscriptions", "list", "--json").data] == [FIELDS]
    assert r"KeyError: 'a'\nmore" in run("subscriptions", "show", "crm").out


def test_subscriptions_are_listed(log: EventLog, run: Run) -> None:
    """A person gets a line for each, with the first line of its error."""
    append_messages(log, ["ana"])
    for name in ("mail", "crm"):
        subscribe(log, name)
    park(log, 1, error="KeyError: 'a'\nmore")

    heading, crm, mail = run("subscriptions", "list").out.splitlines()

    assert heading.split()[:3] == ["NAME", "STATE", "CHECKPOINT"]
    assert crm.split()[:5] == ["crm", "active", "0", "1", "1"]
    assert crm.endswith("KeyError: 'a'")
    assert mail.split()[0] == "mail"


def test_subscriptions_come_in_pages(log: EventLog, run: Run) -> None:
    """The cursor of one page begins the next."""
    for name in ("mail", "crm", "audit"):
        subscribe(log, name)

    first = run("subscriptions", "list", "--json", "--limit", "2")
    cursor = first.json["next_cursor"]
    second = run("subscriptions", "list", "--json", "--limit", "2", "--cursor", cursor)

    assert [one["name"] for one in first.data] == ["audit", "crm"]
    assert [one["name"] for one in second.data] == ["mail"]
    assert second.json["next_cursor"] is None


def test_none_is_an_empty_list(run: Run) -> None:
    """A person is told where subscriptions come from."""
    result = run("subscriptions", "list")

    assert (result.code, result.out) == (0, "")
    assert "first loads its plugin" in result.err


def test_an_unknown_name_is_a_failure(log: EventLog, run: Run) -> None:
    """It exits 1 with a guess."""
    subscribe(log)

    result = run("subscriptions", "show", "crn")

    assert (result.code, result.out) == (1, "")
    assert "did you mean crm?" in result.err


def test_where_a_plugin_is_gone_it_is_said_what_to_do(log: EventLog, run: Run) -> None:
    """On stderr, in the list and of one alone; programs read it from the state."""
    subscribe(log)
    with log.store.writing() as connection:
        connection.execute(log.store.tables.subscription.update().values(state="missing"))

    for command in (("list",), ("show", "crm")):
        result = run("subscriptions", *command)
        assert (result.code, "missing" in result.out) == (0, True)
        assert "router subscriptions rename crm NEW" in result.err
    assert run("subscriptions", "list", "--json").err == ""
