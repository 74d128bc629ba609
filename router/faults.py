"""What is wrong with a plugin as it is written: a sentence each, with the culprit and the fix."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import ModuleType

import pluggy

from router.handlers import CATCH_ALL, EVENT_HOOKS, HOOKS, Parameters, parameters_of
from router.hookspecs import PROJECT, replay_policy_of
from router.options import explain_unknown

Function = Callable[..., object]

HANDLER_HOOKS = {*EVENT_HOOKS, CATCH_ALL}
# Asked while the plugin is loaded or the application is built, where nothing can be awaited.
PLAIN_HOOKS = {"settings", "subscription_options", "tables", "sources", "routes", "commands"}


def find_faults(plugin: object, *, manager: pluggy.PluginManager) -> list[str]:
    """Return every fault of ``plugin``, a module or an object; none where it can be registered."""
    marks = {
        name: marks
        for name in dir(plugin)
        if (marks := manager.parse_hookimpl_opts(plugin, name)) is not None
    }
    found: dict[str, list[Function]] = {}
    faults = [*_find_unmarked(plugin, marked=marks)]
    for name, mark in marks.items():
        hook, function = mark["specname"] or name, getattr(plugin, name)
        if hook in HOOKS:
            found.setdefault(hook, []).append(function)
            problems = _find_misfits(hook, function, mark)
        elif mark["optionalhook"]:
            continue
        else:
            reason = f"is marked @hookimpl, but the hook {hook} {explain_unknown(hook, HOOKS)}"
            problems = iter([reason])
        faults += [f"{name}() {problem}{_place_of(function)}" for problem in problems]
    return [*faults, *_find_doubles(found), *_find_mixed(found)]


def _find_unmarked(plugin: object, *, marked: Mapping[str, object]) -> Iterator[str]:
    """Find public functions that mean to be hooks, which pluggy would pass by in silence."""
    for name in dir(plugin):
        value = inspect.getattr_static(plugin, name, None)
        plain = getattr(value, "__func__", value)
        if name in marked or name.startswith("_"):
            continue
        if isinstance(getattr(plain, f"{PROJECT}_impl", None), dict):
            yield f"{name} is marked @hookimpl, but is no function: write it as a def"
        elif inspect.isroutine(plain) and name in HOOKS:
            yield (
                f"{name}() has the name of a hook: put @hookimpl above it, or start its name "
                f"with an underscore{_place_of(plain)}"
            )
        elif inspect.isroutine(plain) and _is_at_home(plain, plugin) and (near := _near(name)):
            yield (
                f"{name}() looks like a hook: did you mean {near}, with @hookimpl above it? "
                f"If not, start its name with an underscore{_place_of(plain)}"
            )


def _is_at_home(function: object, plugin: object) -> bool:
    """Whether ``function`` was written in the plugin, not imported into it."""
    if not isinstance(plugin, ModuleType):
        return True
    return getattr(function, "__module__", None) == plugin.__name__


def _near(name: str) -> str:
    hooks = [hook for hook in HOOKS if hook.startswith("on_")]
    close = get_close_matches(name, hooks, n=1, cutoff=0.8) if name.startswith("on_") else []
    return close[0] if close else ""


def _find_misfits(hook: str, function: Function, mark: pluggy.HookimplOpts) -> Iterator[str]:
    """Find what makes one function unfit for its hook."""
    yield from _find_foreign_arguments(hook, parameters_of(function))
    is_async = inspect.iscoroutinefunction(function)
    if mark["wrapper"] or mark["hookwrapper"]:
        yield "is a wrapper: plugins are called one by one, so there is nothing to wrap"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield "contains a yield, so calling it would do nothing: return instead"
    elif not is_async and inspect.iscoroutinefunction(inspect.unwrap(function)):
        yield (
            "is an async def inside a decorator that makes it a plain def, so nobody would await "
            "it: make the decorator's inner function an async def"
        )
    if is_async and hook in PLAIN_HOOKS:
        yield "is an async def: make it a plain def, for it is called where nothing can be awaited"
    if replay_policy_of(function) and hook not in HANDLER_HOOKS:
        yield "has replay=, which only handlers of events can have: remove it"


def _find_foreign_arguments(hook: str, taken: Parameters) -> Iterator[str]:
    allowed = f"it may take {', '.join(HOOKS[hook])}" if HOOKS[hook] else "it takes none"
    for name in taken.positional:
        if name not in HOOKS[hook]:
            yield f"has an unknown argument {name!r}: {allowed}"
    for name in taken.keyword_only:
        yield f"has a keyword-only argument {name!r}: remove the * before it ({allowed})"
    if taken.is_open:
        yield f"takes * or ** arguments: name what it wants instead ({allowed})"


def _find_doubles(found: Mapping[str, list[Function]]) -> Iterator[str]:
    for hook, functions in found.items():
        if len(functions) > 1:
            names = " and ".join(f"{one.__name__}(){_place_of(one)}" for one in functions)
            yield f"{hook} is implemented twice, by {names}: keep one"


def _find_mixed(found: Mapping[str, list[Function]]) -> Iterator[str]:
    """Find async handlers in a plugin that handles events inside a transaction."""
    handlers = [
        (hook, one) for hook, all_ in found.items() for one in all_ if hook in HANDLER_HOOKS
    ]
    users = [hook for hook, one in handlers if "connection" in parameters_of(one).positional]
    for hook, function in handlers:
        if users and inspect.iscoroutinefunction(function):
            whose = "it names connection" if hook in users else f"{users[0]}() names connection"
            yield (
                f"{hook}() is an async def, but {whose}: handlers inside a transaction run one "
                f"after another, so make it a plain def{_place_of(function)}"
            )


def _place_of(function: object) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)  # type: ignore[arg-type]
    return f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
