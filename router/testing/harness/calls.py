"""Every call of a handler, written down as it ends: the log knows only those that failed."""

from collections.abc import Awaitable, Sequence
from typing import cast

import msgspec
from sqlalchemy import Connection

from router.claims import LIVE
from router.context import Context
from router.events import Event
from router.handlers import Handler
from router.host import Plugin


class Call(msgspec.Struct, frozen=True):
    """One call of a handler.

    Attributes:
        plugin: Whose handler.
        run: 0 for live delivery, else the replay's id.
        position: Of the event.
        error: What it raised; None where it returned.
    """

    plugin: str
    run: int
    position: int
    error: BaseException | None


class Calls:
    """The calls of the handlers that are watched, in the order in which they ended."""

    def __init__(self) -> None:
        self._ended: list[Call] = []

    def find(self, plugin: str, run: int) -> dict[int, list[Call]]:
        """Return the calls of a plugin in one run, by the position of the event."""
        found: dict[int, list[Call]] = {}
        for call in list(self._ended):
            if (call.plugin, call.run) == (plugin, run):
                found.setdefault(call.position, []).append(call)
        return found

    def watch(self, plugins: Sequence[Plugin]) -> list[Plugin]:
        """Return the plugins with handlers whose calls are written down."""
        return [
            msgspec.structs.replace(
                plugin,
                handlers={
                    type_: self._watch(plugin.name, handler)
                    for type_, handler in plugin.handlers.items()
                },
            )
            for plugin in plugins
        ]

    def _watch(self, plugin: str, handler: Handler) -> Handler:
        def call(event: Event, context: Context, connection: Connection | None) -> object:
            try:
                result = handler.call(event, context, connection)
            except BaseException as error:
                self._note(plugin, event, error)
                raise
            self._note(plugin, event, None)
            return result

        async def call_async(
            event: Event, context: Context, connection: Connection | None
        ) -> object:
            try:
                result = await cast("Awaitable[object]", handler.call(event, context, connection))
            except BaseException as error:
                self._note(plugin, event, error)
                raise
            self._note(plugin, event, None)
            return result

        watched = call_async if handler.is_async else call
        return msgspec.structs.replace(handler, call=watched)

    def _note(self, plugin: str, event: Event, error: BaseException | None) -> None:
        run = LIVE if event.replay is None else event.replay.id
        self._ended.append(Call(plugin, run, event.position, error))
