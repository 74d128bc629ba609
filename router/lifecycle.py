"""Plugins are started, stopped and alerted: one at a time, so that none disturbs another."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from router.alerts import Tell
from router.errors import PluginError
from router.host import Plugin
from router.loading import explain, place_of

logger = logging.getLogger(__name__)

ALERT_SECONDS = 30.0


async def start(plugins: Sequence[Plugin]) -> None:
    """Call ``on_start`` of each plugin in turn.

    Raises:
        PluginError: One failed; those before it have been stopped again.
    """
    for count, plugin in enumerate(plugins):
        try:
            await plugin.call("on_start", settings=plugin.declared.settings)
        except BaseException as error:
            await stop(plugins[:count])
            if isinstance(error, Exception | SystemExit):
                raise PluginError(plugin.name, f"on_start() failed: {explain(error)}") from error
            raise


async def stop(plugins: Sequence[Plugin]) -> None:
    """Call ``on_stop`` of each plugin, the last one first; a failure is logged, no more."""
    for plugin in reversed(plugins):
        try:
            await plugin.call("on_stop")
        except (Exception, SystemExit) as error:
            _log_failure(plugin, "on_stop", error)


def make_listeners(plugins: Sequence[Plugin]) -> list[Tell]:
    """Return what tells each of ``plugins`` of alerts."""
    return [partial(alert, [plugin]) for plugin in plugins]


async def alert(
    plugins: Sequence[Plugin],
    hook: str,
    given: Mapping[str, object],
    *,
    seconds: float = ALERT_SECONDS,
) -> None:
    """Call ``hook``, `on_dead` or `on_subscription_state`, of each plugin that runs and has it.

    All are called at once, so that none waits for another. A failure is logged, no more.

    Args:
        plugins: Whom to tell.
        hook: The hook's name.
        given: The hook's arguments.
        seconds: What a call may take: an async one is cancelled then; a plain one is left alone,
            or, where its plugin's threads were all still busy, never made.
    """
    told = [plugin for plugin in plugins if plugin.is_enabled and hook in plugin.hooks]
    # Not even what a plugin cancels within itself is to cancel the caller.
    await asyncio.gather(
        *(_alert(plugin, hook, given, seconds=seconds) for plugin in told), return_exceptions=True
    )


async def _alert(plugin: Plugin, hook: str, given: Mapping[str, object], *, seconds: float) -> None:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await plugin.alert(hook, **given)
    except (Exception, SystemExit) as error:
        if limit.expired():
            logger.error("plugin %s: %s() took more than %g s", plugin.name, hook, seconds)
        else:
            _log_failure(plugin, hook, error)


def _log_failure(plugin: Plugin, hook: str, error: BaseException) -> None:
    # Not what it says: an error's text may hold a phone number.
    kind = type(error).__name__
    logger.error("plugin %s: %s() raised %s (%s)", plugin.name, hook, kind, place_of(error))
