"""Plugins are started, stopped and alerted: one at a time, so that none disturbs another."""

import logging
from collections.abc import Sequence

from router.errors import PluginError
from router.host import Plugin
from router.loading import explain, place_of

logger = logging.getLogger(__name__)


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
            if isinstance(error, Exception):
                raise PluginError(plugin.name, f"on_start() failed: {explain(error)}") from error
            raise


async def stop(plugins: Sequence[Plugin]) -> None:
    """Call ``on_stop`` of each plugin, the last one first; a failure is logged, no more."""
    for plugin in reversed(plugins):
        await _call_quietly(plugin, "on_stop")


async def alert(plugins: Sequence[Plugin], hook: str, **given: object) -> None:
    """Call ``hook``, `on_dead` or `on_subscription_state`, of each plugin that implements it.

    A failure is logged, no more.
    """
    for plugin in plugins:
        await _call_quietly(plugin, hook, **given)


async def _call_quietly(plugin: Plugin, hook: str, **given: object) -> None:
    try:
        await plugin.call(hook, **given)
    except Exception as error:
        # Not what it says: an error's text may hold a phone number.
        kind = type(error).__name__
        logger.error("plugin %s: %s() raised %s (%s)", plugin.name, hook, kind, place_of(error))
