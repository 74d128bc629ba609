"""Where an application is mounted, and what of a request's path is its own."""

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Return the path of a request, counted from where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def with_whole_path(scope: Scope) -> Scope:
    """Return the ``scope`` of a request with a path that begins where the server's do.

    A proxy that takes a prefix off, of which only ``root_path`` tells the application, leaves a
    path that no route of a mounted application would fit.
    """
    outer: str = scope.get("app_root_path", "")
    if not outer or scope["path"].startswith(f"{outer}/"):
        return scope
    return {**scope, "path": f"{outer}{scope['path']}"}
