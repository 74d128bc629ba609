"""The option ``--tracing``: whether a process makes spans, by the provider that it was given."""

from collections.abc import Callable
from typing import TypeVar

import click

from router.app import Router
from router.assembly import make_tracing

T = TypeVar("T")


def with_tracing(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--tracing``; it gets ``is_tracing``."""
    return click.option(
        "--tracing",
        "is_tracing",
        is_flag=True,
        envvar="ROUTER_TRACING",
        help="Make spans by OpenTelemetry's provider, as `opentelemetry-instrument` sets it up.",
    )(command)


def trace(router: Router, *, is_wanted: bool) -> None:
    """Let ``router``, which does not run yet, make spans by the process's own provider.

    Raises:
        RouterError: The extra is not installed.
    """
    router.log.tracing = make_tracing(is_wanted)
