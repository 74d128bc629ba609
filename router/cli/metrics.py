"""The option ``--metrics``: where a process shows its metrics, apart from the webhooks."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import click

from router.app import Router
from router.assembly import require_prometheus

T = TypeVar("T")

_PLACE = re.compile(r"(?:(?P<host>[^\[\]:]+|\[[^\[\]]+\]):)?(?P<port>[0-9]{1,5})")


class Place(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class PlaceType(click.ParamType[Place]):
    """A port, or a host and a port."""

    name = "place"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Return the place that ``value`` names; without a host it is this machine alone."""
        if isinstance(value, Place):
            return value
        match = _PLACE.fullmatch(str(value))
        if match is None or int(match["port"]) > 65535:
            self.fail(f"{value!r} is neither PORT nor HOST:PORT", param, ctx)
        return Place((match["host"] or "127.0.0.1").strip("[]"), int(match["port"]))


def with_metrics(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--metrics``; it gets the `Place` as ``metrics``, or None."""
    return click.option(
        "--metrics",
        metavar="[HOST:]PORT",
        type=PlaceType(),
        envvar="ROUTER_METRICS",
        help="Show metrics for Prometheus at /metrics there, apart from the webhooks.",
    )(command)


@contextmanager
def showing(router: Router, place: Place | None) -> Iterator[None]:
    """Show the metrics of ``router`` at ``place``, if there is one, while the block lasts.

    Raises:
        RouterError: The extra is not installed, or nothing can listen there.
    """
    if place is None:
        yield
        return
    with require_prometheus().serving(router.log, host=place.host, port=place.port):
        yield
