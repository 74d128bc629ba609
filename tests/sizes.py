"""How large the logs of tests are: small at a desk, as is promised in CI, or as large as can be."""

import os
from typing import TypeVar

T = TypeVar("T")

_SIZES = ("small", "ci", "full")
_AT = _SIZES.index(os.environ.get("ROUTER_TEST_SIZE") or "small")


def choose(small: T, *, ci: T, full: T | None = None) -> T:
    """Return what ROUTER_TEST_SIZE is for: ``ci`` and ``full`` are what is promised, and more."""
    return (small, ci, ci if full is None else full)[_AT]
