"""The promises of a source, one case each: what an adapter's author lets his tests check."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from router.sources import Adapter
from router.testing.conformance import requests, samples, settings
from router.testing.conformance.given import Given, require_split
from router.testing.conformance.hostile import HOSTILE, Bodies


class SourceCase(msgspec.Struct, frozen=True):
    """One promise, and the adapter that is held to it.

    Attributes:
        name: Of the case.
        promise: What is promised.
        given: The adapter, with its settings and samples.
    """

    name: str
    promise: str
    given: Given

    def __str__(self) -> str:
        """Return its name, for ``pytest.mark.parametrize(..., ids=str)``."""
        return self.name

    def check(self) -> None:
        """Return when the promise is kept.

        Raises:
            AssertionError: It is not; says by what that was seen.
        """
        CHECKS[self.name][1](self.given)


def source_cases(
    adapter: Adapter,
    *,
    settings: Mapping[str, object],
    samples: Sequence[bytes],
    is_open: bool = False,
) -> list[SourceCase]:
    """Return one case for each promise of a source, each to be checked by a test of its own.

    Args:
        adapter: Makes the source.
        settings: With which it is made, as ``[sources.NAME]`` would hold them, its secrets written
            out.
        samples: Some bodies as the provider sends them, one of each kind that is known.
        is_open: Whether these settings let anybody send: nothing is asked about verification then.
    """
    given = Given(adapter, settings, samples)
    left_out = requests.CHECKS.keys() if is_open else ()
    return [
        SourceCase(name, promise, given)
        for name, (promise, _) in CHECKS.items()
        if name not in left_out
    ]


def _survive(make: Bodies, given: Given) -> None:
    source = given.make_source()
    for body in make(given.samples):
        require_split(source, body)


CHECKS: Mapping[str, tuple[str, Callable[[Given], None]]] = {
    **{
        name: (
            f"events, or Unreadable, and never another exception: {about}",
            partial(_survive, make),
        )
        for name, (about, make) in HOSTILE.items()
    },
    **samples.CHECKS,
    **requests.CHECKS,
    **settings.CHECKS,
}
