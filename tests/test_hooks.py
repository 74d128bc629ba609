"""Every hook is called by a router that runs, with what it is said to be given, and documented."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from sqlalchemy import Connection, MetaData

from router import Context, Event, Reject, Router, hookimpl
from router.events import EVENT_TYPES, Draft
from router.handlers import EVENT_HOOKS, HOOKS
from tests.hook_page import PAGE, render
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.waiting import until

# One engine is enough: nothing of it is in the database.
pytestmark = pytest.mark.engines("sqlite")

Given = dict[str, object]


@dataclass(frozen=True)
class Settings:
    """Of a plugin that needs none."""


ANSWERS: Mapping[str, object] = MappingProxyType(
    {
        "settings": Settings,
        "subscription_options": {},
        "tables": MetaData(),
        "sources": {},
        "routes": [],
        "commands": [],
    }
)
KINDS: Mapping[str, type] = MappingProxyType(
    {
        "event": Event,
        "context": Context,
        "connection": Connection,
        "subscription": str,
        "attempts": int,
        "error": str,
        "state": str,
        "reason": str,
        "settings": Settings,
    }
)


class Calls:
    """What the hooks of a plugin were called with, by their names."""

    def __init__(self) -> None:
        self.given: dict[str, Given] = {}

    def note(self, hook: str, given: Given) -> object:
        """Write down a call, and answer it; a message is refused."""
        self.given[hook] = given
        if hook == "on_message":
            raise Reject("not today")
        return ANSWERS.get(hook)


def make_plugin(name: str, calls: Calls, hooks: Sequence[str]) -> object:
    """Return a plugin with these hooks, which take every argument that there is."""

    def make_hook(hook: str) -> Callable[..., object]:
        names = HOOKS[hook]
        given = ", ".join(f"{one}={one}" for one in names)
        code = f"lambda {', '.join(['self', *names])}: calls.note({hook!r}, dict({given}))"
        made: Callable[..., object] = eval(code, {"calls": calls})  # noqa: S307 - its names matter
        return hookimpl(made)

    kind = type(name, (), {"plugin_name": name, **{hook: make_hook(hook) for hook in hooks}})
    plugin: object = kind()
    return plugin


def split(_body: bytes) -> Sequence[Draft]:
    """Find an event of each type."""
    return [
        Draft(path="$", type=one, subtype="any", conversation=one, natural_key=(one,))
        for one in EVENT_TYPES
    ]


@in_loop
async def test_every_hook_is_called_with_what_it_is_given(database: str) -> None:
    """From the load to the stop; a hook that is added is added here, or this fails."""
    calls, rest = Calls(), Calls()
    plugins = [
        make_plugin("all", calls, [hook for hook in HOOKS if hook != "on_event"]),
        make_plugin("rest", rest, ["on_event"]),
    ]
    source = StubSource(splits=split)

    async with Router(database, sources=[source], plugins=plugins) as router:
        assert (await ask(router.asgi(), "/webhooks/wa", body=b"{}")).status == 200
        await until(lambda: {*EVENT_HOOKS, "on_dead"} <= calls.given.keys())
        await until(lambda: rest.given)
        await asyncio.to_thread(router.control.pause, "all", actor="ana", reason="a test")
        await until(lambda: "on_subscription_state" in calls.given)

    found = calls.given | rest.given
    assert found.keys() == HOOKS.keys()
    for hook, given in found.items():
        assert tuple(given) == HOOKS[hook]
        for name, value in given.items():
            assert isinstance(value, KINDS[name]), (hook, name, value)


def test_every_hook_is_on_its_page_as_it_is_specified() -> None:
    """Signature, meaning and arguments; `python -m tests.hook_page` writes the page anew."""
    text = PAGE.read_text("utf-8")

    assert text == render()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {name}" for name in HOOKS
    ]
