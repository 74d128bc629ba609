"""Tests of `router.hookspecs`: every hook is documented, and `hookimpl` marks without changing."""

import inspect

import pluggy
import pytest

from router import hookspecs
from router.events import EVENT_TYPES
from router.handlers import HOOKS
from router.hookspecs import hookimpl, replay_policy_of


@pytest.fixture
def manager() -> pluggy.PluginManager:
    """Return pluggy's manager, which knows no hook yet."""
    return pluggy.PluginManager(hookspecs.PROJECT)


def test_every_hook_is_there() -> None:
    """There is a hook for each type of event, and for all else that a plugin may say or hear."""
    others = {
        "on_event", "on_dead", "on_subscription_state", "on_start", "on_stop", "settings",
        "subscription_options", "tables", "sources", "routes", "commands",
    }  # fmt: skip
    assert set(HOOKS) == {f"on_{type_}" for type_ in EVENT_TYPES} | others


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_every_hook_is_documented_and_typed(name: str) -> None:
    """A hook's specification has a docstring and annotates each argument and its result."""
    hook = getattr(hookspecs, name)
    signature = inspect.signature(hook)
    assert inspect.getdoc(hook)
    assert signature.return_annotation is not signature.empty
    assert all(one.annotation is not one.empty for one in signature.parameters.values())


def test_handlers_of_events_may_take_the_same_arguments() -> None:
    """Every hook for events offers event, context and connection."""
    hooks = [f"on_{type_}" for type_ in EVENT_TYPES]
    assert {HOOKS[hook] for hook in [*hooks, "on_event"]} == {("event", "context", "connection")}


def test_pluggy_knows_all_hooks(manager: pluggy.PluginManager) -> None:
    """Pluggy takes the module as it is for its specifications."""
    manager.add_hookspecs(hookspecs)
    assert set(HOOKS) == set(vars(manager.hook))


def test_a_bare_decorator_marks_for_pluggy(manager: pluggy.PluginManager) -> None:
    """`@hookimpl` without arguments marks the function and says nothing about replays."""

    class Plugin:
        @hookimpl
        def on_message(self, event: object) -> None: ...

    plugin = Plugin()
    assert manager.parse_hookimpl_opts(plugin, "on_message")
    assert replay_policy_of(plugin.on_message) is None


def test_the_function_itself_is_returned() -> None:
    """The decorator returns the very function that it was given."""

    def on_message(event: object) -> None: ...

    assert hookimpl(on_message) is on_message
    assert hookimpl(replay="skip")(on_message) is on_message


@pytest.mark.parametrize("policy", ["allow", "skip", "refuse"])
def test_the_replay_policy_is_kept(policy: hookspecs.ReplayPolicy) -> None:
    """What `replay=` says can be read from the function, and from a method bound to an object."""

    class Plugin:
        @hookimpl(replay=policy)
        def on_message(self, event: object) -> None: ...

    assert replay_policy_of(Plugin.on_message) == policy
    assert replay_policy_of(Plugin().on_message) == policy


def test_an_unknown_replay_policy_is_refused_where_it_is_written() -> None:
    """A policy that does not exist fails when the decorator runs and names the three that do."""
    with pytest.raises(ValueError, match='must be "allow", "skip" or "refuse", not \'never\''):
        hookimpl(replay="never")  # type: ignore[call-overload]


def test_options_are_passed_on_to_pluggy(manager: pluggy.PluginManager) -> None:
    """Pluggy's own options work beside ours."""

    class Plugin:
        @hookimpl(specname="on_message", tryfirst=True, replay="allow")
        def greet(self, event: object) -> None: ...

    marks = manager.parse_hookimpl_opts(Plugin(), "greet")
    assert marks is not None
    assert (marks["specname"], marks["tryfirst"], marks["trylast"]) == ("on_message", True, False)


def test_static_and_class_methods_can_be_marked_from_outside(
    manager: pluggy.PluginManager,
) -> None:
    """`@hookimpl` above `@staticmethod` or `@classmethod` marks the function inside."""

    class Plugin:
        @hookimpl(replay="allow")
        @staticmethod
        def on_message(event: object) -> None: ...

        @hookimpl
        @classmethod
        def on_sent(cls, event: object) -> None: ...

    assert manager.parse_hookimpl_opts(Plugin(), "on_message")
    assert manager.parse_hookimpl_opts(Plugin(), "on_sent")
    assert replay_policy_of(Plugin.on_message) == "allow"
