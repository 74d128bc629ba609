"""What a plugin implements: its hooks, and among them the handlers of events, ready to call."""

import inspect
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy import Connection

from router import hookspecs
from router.context import Context
from router.events import EVENT_TYPES, Event, EventType
from router.hookspecs import ReplayPolicy, replay_policy_of

EVENT_HOOKS: Mapping[str, EventType] = {f"on_{type_}": type_ for type_ in EVENT_TYPES}
CATCH_ALL = "on_event"

Call = Callable[[Event, Context, Connection | None], object]


class Parameters(msgspec.Struct, frozen=True):
    """The names that a function takes, without the object that a method is bound to.

    Attributes:
        positional: Those that can be given by position, in their order.
        keyword_only: Those behind a ``*``.
        is_open: Whether it takes ``*args`` or ``**kwargs``.
    """

    positional: tuple[str, ...]
    keyword_only: tuple[str, ...]
    is_open: bool


class Implementation(msgspec.Struct, frozen=True, eq=False):
    """One plugin's implementation of one hook.

    Attributes:
        hook: The hook's name.
        function: The function, or the method bound to its object.
        names: The hook's arguments that it takes, in its own order.
        is_async: Whether it is an ``async def``.
        replay: What its decorator says about replays; None where it says nothing.
    """

    hook: str
    function: Callable[..., object]
    names: tuple[str, ...]
    is_async: bool
    replay: ReplayPolicy | None

    def call(self, given: Mapping[str, object]) -> object:
        """Call it with those of the ``given`` arguments that it takes."""
        return self.function(*[given[name] for name in self.names])


class Handler(msgspec.Struct, frozen=True, eq=False):
    """What one plugin does with the events of one type.

    Attributes:
        type: The type of event.
        hook: The hook that it implements: the type's own, or ``on_event``.
        names: Which of ``event``, ``context`` and ``connection`` it takes, in its own order.
        is_async: Whether ``call`` returns something to await.
        replay: What its decorator says about replays; None where it says nothing.
        call: Calls it with an event, a context and, in a transactional plugin, a connection. It
            passes on those that the handler takes: chosen once, when the plugin was loaded.
    """

    type: EventType
    hook: str
    names: tuple[str, ...]
    is_async: bool
    replay: ReplayPolicy | None
    call: Call

    @property
    def is_transactional(self) -> bool:
        """Whether it takes part in the transaction in which its event is settled."""
        return "connection" in self.names


def make_implementation(hook: str, function: Callable[..., object]) -> Implementation:
    """Return ``function`` as an implementation of ``hook``, for which it has been found fit."""
    return Implementation(
        hook=hook,
        function=function,
        names=parameters_of(function).positional,
        is_async=inspect.iscoroutinefunction(function),
        replay=replay_policy_of(function),
    )


def make_handlers(hooks: Mapping[str, Implementation]) -> dict[EventType, Handler]:
    """Return the handler of each type that a plugin with these ``hooks`` handles.

    ``on_event`` takes the types that have no hook of their own, so no event is handled twice.
    """
    found = {type_: hooks.get(hook, hooks.get(CATCH_ALL)) for hook, type_ in EVENT_HOOKS.items()}
    return {
        type_: Handler(
            type=type_,
            hook=implementation.hook,
            names=implementation.names,
            is_async=implementation.is_async,
            replay=implementation.replay,
            call=_choose_arguments(implementation.function, implementation.names),
        )
        for type_, implementation in found.items()
        if implementation is not None
    }


def _choose_arguments(function: Callable[..., object], names: tuple[str, ...]) -> Call:
    if names == ("event",):
        return lambda event, context, connection: function(event)
    if names == ("event", "context"):
        return lambda event, context, connection: function(event, context)
    if names == ("event", "connection"):
        return lambda event, context, connection: function(event, connection)
    order = [("event", "context", "connection").index(name) for name in names]
    return lambda *given: function(*[given[at] for at in order])


def parameters_of(function: Callable[..., object]) -> Parameters:
    """Return what ``function`` takes; what it wraps counts, where it was decorated.

    It reads the code, not the signature, since that would evaluate annotations, whose names need
    not exist when the router runs.

    Raises:
        TypeError: It is not written in Python.
    """
    plain = inspect.unwrap(function)
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    if code is None:
        raise TypeError(f"{function!r} is not a function written in Python")
    taken, total = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    return Parameters(
        positional=code.co_varnames[inspect.ismethod(function) : taken],
        keyword_only=code.co_varnames[taken:total],
        is_open=bool(code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)),
    )


# Every hook's name, with the arguments that an implementation of it may take.
HOOKS: Mapping[str, tuple[str, ...]] = {
    name: parameters_of(value).positional
    for name, value in vars(hookspecs).items()
    if hasattr(value, f"{hookspecs.PROJECT}_spec")
}
