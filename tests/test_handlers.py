"""Tests of `router.handlers`: what a plugin implements is understood once and called as it asks."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from itertools import permutations
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import Connection

from router.context import Context
from router.events import EVENT_TYPES, Event, Notification
from router.handlers import Handler, make_handlers, make_implementation, parameters_of
from router.hookspecs import hookimpl
from router.log import EventLog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENT = Event(
    position=1,
    id="1",
    type="message",
    subtype="text",
    channel="",
    subject=":",
    external_id=None,
    occurred_at=None,
    path="$",
    notification=Notification("wa", NOON, {}, b"{}"),
)
# Handlers pass these on without a look inside.
CONTEXT = Context(1, NOON, "crm", cast("EventLog", object()))
CONNECTION = cast("Connection", object())
ALL: Mapping[str, object] = {"event": EVENT, "context": CONTEXT, "connection": CONNECTION}


def make_handler(function: Callable[..., object], *, hook: str = "on_message") -> Handler:
    """Return the handler of messages in a plugin that has only this hook."""
    return make_handlers({hook: make_implementation(hook, function)})["message"]


@pytest.mark.parametrize(
    "names", [names for count in range(4) for names in permutations(ALL, count)], ids="-".join
)
def test_a_handler_gets_what_it_names(names: tuple[str, ...]) -> None:
    """Whichever arguments a handler names, in whichever order, it is called with just those."""
    scope: dict[str, Callable[..., object]] = {}
    exec(f"def on_message({', '.join(names)}): return [{', '.join(names)}]", scope)  # noqa: S102
    handler = make_handler(scope["on_message"])
    assert handler.names == names
    assert handler.call(EVENT, CONTEXT, CONNECTION) == [ALL[name] for name in names]


def test_a_method_is_called_on_its_object() -> None:
    """The object that a method is bound to is no argument of the handler."""

    class Plugin:
        def on_message(self, event: Event) -> tuple[object, Event]:
            return self, event

    plugin = Plugin()
    handler = make_handler(plugin.on_message)
    assert handler.names == ("event",)
    assert handler.call(EVENT, CONTEXT, None) == (plugin, EVENT)


def test_whether_a_handler_is_async_is_known_before_it_is_called() -> None:
    """An `async def` is known for one, and what its call returns can be awaited."""

    async def on_message(event: Event) -> str:
        return event.id

    async def call(handler: Handler) -> object:
        return await handler.call(EVENT, CONTEXT, None)  # type: ignore[misc]  # it is async

    handler = make_handler(on_message)
    assert handler.is_async
    assert asyncio.run(call(handler)) == "1"
    assert not make_handler(lambda event: None).is_async


def test_a_handler_that_names_connection_is_transactional() -> None:
    """Only a handler that names `connection` takes part in the transaction."""
    assert make_handler(lambda event, connection: None).is_transactional
    assert not make_handler(lambda event, context: None).is_transactional


def test_a_handler_keeps_its_replay_policy() -> None:
    """What the decorator says about replays is on the handler; None where it says nothing."""
    assert make_handler(hookimpl(replay="refuse")(lambda event: None)).replay == "refuse"
    assert make_handler(hookimpl(lambda event: None)).replay is None


def test_on_event_fills_the_types_without_a_hook_of_their_own() -> None:
    """A type that has a hook of its own goes there, every other one to `on_event`: never both."""
    hooks = {
        "on_event": make_implementation("on_event", lambda event: "any"),
        "on_read": make_implementation("on_read", lambda event: "read"),
    }
    handlers = make_handlers(hooks)
    assert {type_: handler.call(EVENT, CONTEXT, None) for type_, handler in handlers.items()} == {
        **dict.fromkeys(EVENT_TYPES, "any"),
        "read": "read",
    }
    assert {handler.type: handler.hook for handler in handlers.values()}["read"] == "on_read"


def test_without_on_event_other_types_have_no_handler() -> None:
    """A plugin handles only the types that it has hooks for; other hooks handle nothing."""
    hooks = {
        "on_sent": make_implementation("on_sent", lambda event: None),
        "on_stop": make_implementation("on_stop", lambda: None),
    }
    assert list(make_handlers(hooks)) == ["sent"]


def test_any_hook_is_called_with_what_it_names() -> None:
    """An implementation picks its arguments out of those that its hook offers."""
    on_dead = make_implementation("on_dead", lambda error, subscription: (error, subscription))
    given = {"event": EVENT, "subscription": "crm", "attempts": 3, "error": "boom"}
    assert on_dead.call(given) == ("boom", "crm")


def test_parameters_are_those_of_the_wrapped_function() -> None:
    """A decorator that keeps the function's identity does not hide what it takes."""

    def logged(function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def wrapper(*args: object) -> object:
            return function(*args)

        return wrapper

    @logged
    def on_message(context: Context, event: Event) -> tuple[Context, Event]:
        return context, event

    assert make_handler(on_message).call(EVENT, CONTEXT, None) == (CONTEXT, EVENT)


def test_parameters_are_told_apart_by_kind() -> None:
    """Positional and keyword-only names are kept apart, and open ends are seen."""

    def function(a: int, /, b: int, *rest: int, c: int) -> None: ...

    found = parameters_of(function)
    assert (found.positional, found.keyword_only, found.is_open) == (("a", "b"), ("c",), True)


def test_annotations_are_never_evaluated() -> None:
    """Names that exist only for a type checker do no harm."""

    def on_message(event: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert parameters_of(on_message).positional == ("event",)


@pytest.mark.parametrize("function", [print, SimpleNamespace()], ids=["builtin", "object"])
def test_only_python_functions_have_parameters(function: Callable[..., object]) -> None:
    """What is no function written in Python is refused by name."""
    with pytest.raises(TypeError, match="is not a function written in Python"):
        parameters_of(function)
