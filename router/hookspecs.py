"""Every hook that a plugin may implement, in the order in which one meets them, and `hookimpl`.

A hook implementation is a function of a module, or a method of an object, that is marked with
`@hookimpl` and bears the name of a hook. It names only those of the hook's arguments that it wants.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, overload

import click
import pluggy
from sqlalchemy import Connection, MetaData

from router.context import Context
from router.events import Event
from router.sources import Adapter

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

PROJECT = "router"  # pluggy's name for the set of hooks, and the group of entry points

ReplayPolicy = Literal["allow", "skip", "refuse"]
Outcome = Awaitable[None] | None  # what a `def` or an `async def` without a result returns
Function = TypeVar("Function", bound=Callable[..., object])

hookspec = pluggy.HookspecMarker(PROJECT)
_mark = pluggy.HookimplMarker(PROJECT)


# Events. A handler that returns has handled the event; one that raises gets it again later, unless
# it raises `Reject`. `def` or `async def`; with `connection` only `def`, for all of a plugin.


@hookspec
def on_message(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle a message that somebody sent to the business.

    Args:
        event: What happened; ``event.id`` is the same in every attempt and replay.
        context: The attempt, its deadline, the subscription, the log.
        connection: The transaction in which this event is settled: what is written through it is
            there exactly once. A plugin that names it anywhere is transactional as a whole.
    """


@hookspec
def on_sent(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle the news that the provider took over a message of the business."""


@hookspec
def on_delivered(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle the news that a message of the business reached its recipient's device."""


@hookspec
def on_read(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle the news that a message of the business was read."""


@hookspec
def on_error(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle a failure that the provider reports: of one message, or out of band."""


@hookspec
def on_other(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle what is none of the five: account updates, unknown and malformed elements."""


@hookspec
def on_event(event: Event, context: Context, connection: Connection) -> Outcome:
    """Handle every event for which this plugin has no hook of the event's own type."""


# Alerts. Told to every plugin that asks, whichever subscription it is about; what one raises is
# logged and changes nothing. `def` or `async def`.


@hookspec
def on_dead(event: Event, subscription: str, attempts: int, error: str) -> Outcome:
    """Learn that a delivery was given up.

    Args:
        event: The event that was not handled.
        subscription: Whose delivery it was.
        attempts: How often a handler was called with it.
        error: What the last call raised.
    """


@hookspec
def on_subscription_state(subscription: str, state: str, reason: str) -> Outcome:
    """Learn that a subscription runs, pauses, or waits because most of its calls fail.

    Args:
        subscription: Its name.
        state: The new state, as ``router subscriptions list`` shows it.
        reason: Who or what brought it about.
    """


# Life cycle. `def` or `async def`; a plain `def` runs on a thread.


@hookspec
def on_start(settings: object) -> Outcome:
    """Get ready: called once, before the first event. Raising keeps the router from starting.

    Args:
        settings: The table ``[plugins.NAME]`` as the type that `settings` returned; None where the
            plugin has no such hook.
    """


@hookspec
def on_stop() -> Outcome:
    """Let go of what `on_start` took: called once, after the last handler returned."""


# What a plugin says about itself. Plain `def`, called while it is loaded.


@hookspec
def settings() -> type:  # type: ignore[empty-body]  # a specification has none
    """Return the type of the plugin's own settings: a msgspec Struct or a dataclass.

    Its fields are the keys of ``[plugins.NAME]``. The variable ``ROUTER_PLUGINS__NAME__KEY``, in
    capitals, with ``_`` for every other character, overrules a key; what is no text is written in
    JSON there. What is unknown, missing or of another type is an error when the plugin is loaded. A
    field of the type `router.secrets.Secret` takes ``env:NAME`` or ``file:PATH``, too.
    """


@hookspec
def subscription_options() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Return defaults for ``[subscriptions.NAME]``, written as they would be there."""


# Extensions. Plain `def`.


@hookspec
def tables() -> MetaData:  # type: ignore[empty-body]
    """Return the tables that the plugin keeps beside the log, such as a read model.

    Handlers write to them through ``connection``. `router db upgrade` creates those that do not
    exist, in code `router.Router.create_tables`; a router does not start without them. One that
    exists is never altered: how a table changes from one version of the plugin to the next is the
    plugin's affair; `router db check` says how it differs.

    They are where this ``MetaData`` says: the schema and the prefix of the router's own tables are
    not added. No two plugins may have a table of one name, nor may one be called like the router's
    own: begin each name with the plugin's.
    """


@hookspec
def sources() -> Mapping[str, Adapter]:  # type: ignore[empty-body]
    """Return adapters by the name that ``adapter = "…"`` calls them in ``[sources.NAME]``."""


@hookspec
def routes() -> "Sequence[BaseRoute]":  # type: ignore[empty-body]
    """Return routes of Starlette that the router's application serves at ``/plugins/NAME/``.

    NAME is the plugin's. They are as public as the webhooks: whatever proves who asks is the
    plugin's affair. They are served by `router serve`, with ``--no-worker`` too, from `on_start`
    until the router is told to stop; before and after that the answer is 503. The lifespan of an
    application that is mounted among them does not run.
    """


@hookspec
def commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Return commands of click to add to ``router``, each by its own name.

    ``router`` loads the plugins that the settings in the working directory, or those that
    ``ROUTER_CONFIG`` names, speak of, when it is asked for a command that it does not know. What
    the command gets as ``click.pass_obj`` are those settings, a `router.config.Config`. A name
    that the router itself or another plugin has is a problem that `router plugins check` tells.
    """


# The decorator.


@overload
def hookimpl(function: Function, /) -> Function: ...


@overload
def hookimpl(
    *,
    replay: ReplayPolicy | None = None,
    specname: str | None = None,
    optionalhook: bool = False,
    tryfirst: bool = False,
    trylast: bool = False,
    wrapper: bool = False,
    hookwrapper: bool = False,
) -> Callable[[Function], Function]: ...


def hookimpl(
    function: Function | None = None,
    /,
    *,
    replay: ReplayPolicy | None = None,
    specname: str | None = None,
    optionalhook: bool = False,
    tryfirst: bool = False,
    trylast: bool = False,
    wrapper: bool = False,
    hookwrapper: bool = False,
) -> Function | Callable[[Function], Function]:
    """Mark a function as the implementation of the hook whose name it bears.

    Args:
        function: The function, where the decorator is used without arguments.
        replay: What replays do with this handler: ``"allow"`` calls it, ``"skip"`` leaves it out
            unless the operator or ``[subscriptions.NAME]`` says otherwise, ``"refuse"`` never
            calls it. None is ``"allow"`` in a transactional plugin and ``"skip"`` in any other.
        specname: The hook's name, where the function has another one.
        optionalhook: Whether a hook that this version of the router does not know is ignored.
        tryfirst: As in pluggy, among plugins; the order of plugins means nothing to events.
        trylast: As in pluggy, likewise.
        wrapper: As in pluggy; refused when the plugin is loaded, for plugins are called one by one.
        hookwrapper: Likewise.

    Raises:
        ValueError: ``replay`` is none of the three.
    """
    if replay is not None and replay not in get_args(ReplayPolicy):
        raise ValueError(f'replay must be "allow", "skip" or "refuse", not {replay!r}')

    def mark(function: Function) -> Function:
        plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
        _mark(
            plain,
            specname=specname,
            optionalhook=optionalhook,
            tryfirst=tryfirst,
            trylast=trylast,
            wrapper=wrapper,
            hookwrapper=hookwrapper,
        )
        setattr(plain, _REPLAY, replay)
        return function

    return mark if function is None else mark(function)


_REPLAY = "router_replay"


def replay_policy_of(function: Callable[..., object]) -> ReplayPolicy | None:
    """Return what `hookimpl` was told about replays of ``function``."""
    policy: ReplayPolicy | None = getattr(function, _REPLAY, None)
    return policy
