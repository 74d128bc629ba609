"""Ports that servers of ours listen at."""

import socket

from router.errors import RouterError


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to ``port`` at ``host``; 0 takes a port that is free.

    Raises:
        RouterError: It cannot be bound.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:  # the latter where the number is no port
        listening.close()
        raise RouterError(
            f"nothing can listen at {host} port {port}, {error}: choose another address or port"
        ) from error
    return listening


def address_of(listening: socket.socket, *, scheme: str) -> str:
    """Return where a socket listens, as the beginning of a URL."""
    host, port = listening.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
