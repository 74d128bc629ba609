"""The routes that plugins add beside the webhooks, each plugin's below a path of its own."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from starlette.routing import BaseRoute, Mount
from starlette.routing import Router as Routes
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import PluginError
from router.problems import make_problem

PREFIX = "/plugins/"

_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}")  # dots alone mean a folder in a URL
_TRY_AGAIN_LATER = 1013  # the code with which a web socket is closed


def check_routes(plugin: str, routes: Sequence[object]) -> tuple[BaseRoute, ...]:
    """Return the ``routes`` of a plugin, which can be served.

    Raises:
        PluginError: One is no route, two take the same requests, or the plugin has a name that
            cannot be part of a URL.
    """
    found: list[BaseRoute] = []
    for route in routes:
        if not isinstance(route, BaseRoute):
            reason = "routes() must return routes of Starlette, such as Route(path, endpoint)"
            raise PluginError(plugin, f"{reason}: {route!r} is none")
        for other in found:
            if _collide(route, other):
                reason = f"two of its routes take the same requests, {other!r} and {route!r}"
                raise PluginError(plugin, f"{reason}: the second would never be asked")
        found.append(route)
    if found and not _NAME.fullmatch(plugin):
        reason = "it has routes, and its name cannot be part of a URL"
        allowed = "1 to 100 letters and digits of ASCII, '-', '_' and '.'"
        raise PluginError(plugin, f"{reason}: give it one of {allowed}")
    return tuple(found)


def _collide(one: BaseRoute, other: BaseRoute) -> bool:
    if type(one) is not type(other) or getattr(one, "path", one) != getattr(other, "path", other):
        return False
    methods, others = (getattr(route, "methods", None) for route in (one, other))
    return methods is None or others is None or bool(methods & others)


def make_mounts(
    routes: Mapping[str, Sequence[BaseRoute]], *, require_open: Callable[[], object]
) -> Iterator[Mount]:
    """Yield the routes of each plugin, at ``/plugins/NAME/``.

    Args:
        routes: By the plugin's name.
        require_open: Raises while plugins are not started, or are about to be stopped.
    """
    for name, served in routes.items():
        yield Mount(f"{PREFIX}{name}", app=_behind(require_open, Routes(served)))


def _behind(require_open: Callable[[], object], app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def note(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            require_open()
            await app(scope, receive, note)
        except Exception as error:  # of a stranger's code: its text is for nobody, and no log
            problem = make_problem(error)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            elif not is_begun:
                await problem(scope, receive, send)

    return answer
