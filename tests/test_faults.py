"""Tests of `router.faults`: each mistake in a plugin is found, and said with its fix."""

import types
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from pathlib import Path

import pluggy
import pytest

from router import hookspecs
from router.faults import find_faults
from router.hookspecs import hookimpl

Find = Callable[[object], list[str]]


@pytest.fixture
def find() -> Find:
    """Return `find_faults` with a manager that knows all hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return partial(find_faults, manager=manager)


def test_a_sound_plugin_has_no_faults(find: Find) -> None:
    """Handlers, declarations, private functions and plain attributes are all in order."""

    class Plugin:
        settings = "an attribute, not a function"

        @hookimpl
        def on_message(self, event: object, connection: object) -> None: ...

        @hookimpl(specname="on_read")
        def look(self, context: object) -> None: ...

        @hookimpl
        def subscription_options(self) -> dict[str, object]:
            return {}

        @hookimpl
        async def on_start(self) -> None: ...

        def handle(self) -> None: ...
        def _on_mesage(self) -> None: ...

    assert find(Plugin()) == []


def test_a_misspelt_hook_is_told_what_it_may_mean(find: Find) -> None:
    """A marked function whose name is no hook's is a fault, with the nearest hook and the place."""

    class Plugin:
        @hookimpl
        def on_messgae(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert fault.startswith(
        "on_messgae() is marked @hookimpl, but the hook on_messgae is unknown: "
        "did you mean on_message? Known are commands, on_dead,"
    )
    assert f"({__file__}:" in fault


def test_a_misspelt_specname_is_told_what_it_may_mean(find: Find) -> None:
    """The hook's name counts, not the function's, where `specname` gives one."""

    class Plugin:
        @hookimpl(specname="on_delivred")
        def on_message(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_message() is marked @hookimpl, but the hook on_delivred is unknown" in fault
    assert "did you mean on_delivered?" in fault


def test_an_optional_hook_may_be_unknown(find: Find) -> None:
    """A hook of a later version is passed by where the plugin says that it is optional."""

    class Plugin:
        @hookimpl(optionalhook=True)
        def on_reaction(self, event: object) -> None: ...

    assert find(Plugin()) == []


@pytest.mark.parametrize("name", ["on_message", "settings"])
def test_a_public_function_with_a_hooks_name_must_be_marked(find: Find, name: str) -> None:
    """A function that bears a hook's name without `@hookimpl` would be passed by in silence."""
    plugin = types.ModuleType("plugin")
    exec(f"def {name}(): ...", vars(plugin))  # noqa: S102
    [fault] = find(plugin)
    assert fault == (
        f"{name}() has the name of a hook: put @hookimpl above it, or start its name with an "
        "underscore (<string>:1)"
    )


def test_a_public_function_with_nearly_a_hooks_name_is_questioned(find: Find) -> None:
    """A forgotten mark and a slip in the name at once are found, too."""

    class Plugin:
        async def on_mesage(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert fault.startswith(
        "on_mesage() looks like a hook: did you mean on_message, with @hookimpl above it? "
        "If not, start its name with an underscore"
    )


def test_an_imported_function_may_have_nearly_a_hooks_name(find: Find) -> None:
    """Only functions written in a module are questioned, not those that it imports."""
    plugin = types.ModuleType("plugin")
    exec("def on_messages(): ...", elsewhere := {"__name__": "elsewhere"})  # noqa: S102
    vars(plugin)["on_messages"] = elsewhere["on_messages"]
    assert find(plugin) == []


def test_a_mark_on_what_is_no_function_is_a_fault(find: Find) -> None:
    """A marked partial would be passed by in silence."""

    class Plugin:
        on_message = hookimpl(partial(print, "a message"))

    assert find(Plugin()) == [
        "on_message is marked @hookimpl, but is no function: write it as a def"
    ]


def test_an_unknown_argument_is_named_with_the_allowed_ones(find: Find) -> None:
    """An argument that the hook does not offer is a fault, even with a default."""

    class Plugin:
        @hookimpl
        def on_message(self, evnt: object, retries: int = 3) -> None: ...

    first, second = find(Plugin())
    allowed = "it may take event, context, connection"
    assert f"on_message() has an unknown argument 'evnt': {allowed}" in first
    assert f"on_message() has an unknown argument 'retries': {allowed}" in second


def test_an_argument_of_a_hook_that_has_none_is_a_fault(find: Find) -> None:
    """A hook without arguments says so."""

    class Plugin:
        @hookimpl
        def on_stop(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_stop() has an unknown argument 'event': it takes none" in fault


def test_a_keyword_only_argument_is_a_fault(find: Find) -> None:
    """Arguments are given by position, so a `*` before one is refused."""

    class Plugin:
        @hookimpl
        def on_message(self, event: object, *, context: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_message() has a keyword-only argument 'context': remove the * before it" in fault
    assert "event, context, connection" in fault


def test_open_arguments_are_a_fault(find: Find) -> None:
    """A handler says by name what it wants, since its arguments are chosen once."""

    class Plugin:
        @hookimpl
        def on_message(self, *args: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_message() takes * or ** arguments: name what it wants instead" in fault


def test_an_async_handler_cannot_have_the_connection(find: Find) -> None:
    """`async def` with `connection` is refused: transactions run on storage threads."""

    class Plugin:
        @hookimpl
        async def on_message(self, event: object, connection: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_message() is an async def, but it names connection" in fault
    assert "make it a plain def" in fault


def test_a_transactional_plugin_has_no_async_handlers(find: Find) -> None:
    """One handler that names `connection` makes all of the plugin's handlers transactional."""

    class Plugin:
        @hookimpl
        def on_message(self, connection: object) -> None: ...

        @hookimpl
        async def on_sent(self, event: object) -> None: ...

        @hookimpl
        async def on_dead(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_sent() is an async def, but on_message() names connection" in fault


def test_alerts_are_checked_like_other_hooks(find: Find) -> None:
    """They may be plain or async, and take no more than they are given."""

    class Sound:
        @hookimpl
        async def on_dead(self, error: object, event: object) -> None: ...

        @hookimpl
        def on_subscription_state(self, state: object) -> None: ...

    class Plugin:
        @hookimpl
        def on_dead(self, event: object, connection: object) -> None: ...

        @hookimpl
        async def on_subscription_state(self, name: object) -> None: ...

    assert find(Sound()) == []
    first, second = find(Plugin())
    assert "'connection': it may take event, subscription, attempts, error" in first
    assert "'name': it may take subscription, state, reason" in second


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_wrappers_are_refused(find: Find, option: str) -> None:
    """Plugins are called one by one, so a wrapper around all of them has no place."""
    mark = hookimpl(**{option: True})  # type: ignore[call-overload]

    class Plugin:
        @mark  # type: ignore[untyped-decorator]
        def on_message(self, event: object) -> Iterator[None]:
            yield

    [fault] = find(Plugin())
    assert "on_message() is a wrapper: plugins are called one by one" in fault


def test_generators_are_refused(find: Find) -> None:
    """A function with a yield would be called and do nothing."""

    class Plugin:
        @hookimpl
        def on_message(self, event: object) -> Iterator[None]:
            yield

        @hookimpl
        async def on_read(self, event: object) -> AsyncIterator[None]:
            yield

    message, read = find(Plugin())
    assert "on_message() contains a yield, so calling it would do nothing" in message
    assert "on_read() contains a yield, so calling it would do nothing" in read


def test_an_async_handler_behind_a_plain_decorator_is_refused(find: Find) -> None:
    """What a plain wrapper returns for an `async def` would never be awaited."""

    def logged(function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def wrapper(*args: object) -> object:
            return function(*args)

        return wrapper

    class Plugin:
        @hookimpl
        @logged
        async def on_message(self, event: object) -> None: ...

    [fault] = find(Plugin())
    assert "on_message() is an async def inside a decorator that makes it a plain def" in fault


def test_what_is_asked_while_loading_cannot_be_async(find: Find) -> None:
    """A declaration is called where nothing can be awaited."""

    class Plugin:
        @hookimpl
        async def settings(self) -> type:
            return dict

    [fault] = find(Plugin())
    assert "settings() is an async def: make it a plain def" in fault


def test_a_replay_policy_belongs_to_handlers(find: Find) -> None:
    """`replay=` on a hook that no replay calls is a mistake."""

    class Plugin:
        @hookimpl(replay="skip")
        def on_start(self) -> None: ...

    [fault] = find(Plugin())
    assert "on_start() has replay=, which only handlers of events can have" in fault


def test_a_hook_implemented_twice_is_a_fault(find: Find) -> None:
    """Two functions for one hook leave open which one is meant."""

    class Plugin:
        @hookimpl
        def on_message(self) -> None: ...

        @hookimpl(specname="on_message")
        def greet(self) -> None: ...

    [fault] = find(Plugin())
    assert fault.startswith("on_message is implemented twice, by greet()")
    assert "on_message()" in fault
    assert fault.endswith("keep one")


def test_every_fault_is_told_at_once(find: Find) -> None:
    """A plugin with several mistakes is mended in one go."""

    class Plugin:
        @hookimpl
        def on_mesage(self) -> None: ...

        @hookimpl
        def on_sent(self, evnt: object) -> None: ...

        def on_read(self) -> None: ...

    assert [fault.split("()")[0] for fault in find(Plugin())] == ["on_read", "on_mesage", "on_sent"]


def test_no_property_runs_while_faults_are_looked_for(find: Find) -> None:
    """Looking at a plugin does not start its code."""

    class Plugin:
        @property
        def on_message(self) -> None:
            raise AssertionError("it ran")

    assert find(Plugin()) == []


def test_places_are_those_of_the_source(find: Find, tmp_path: Path) -> None:
    """A fault ends with the file and the line to go to."""
    plugin, path = types.ModuleType("plugin"), tmp_path / "hello.py"
    exec(compile("\n\ndef on_read(): ...", path, "exec"), vars(plugin))  # noqa: S102
    assert find(plugin)[0].endswith(f"({path}:3)")
