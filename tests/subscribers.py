"""Subscriptions made of plain functions."""

from collections.abc import Callable

from router.handlers import make_handlers, make_implementation
from router.options import Options, RetryOptions
from router.subscriptions import Subscription

# Born at the beginning, in one lane, and tried again at once.
EAGER = Options(start="beginning", lanes=1, retry=RetryOptions(first=0.001, factor=1, jitter=False))


def make_subscription(
    name: str = "crm", /, options: Options = EAGER, **hooks: Callable[..., object]
) -> Subscription:
    """Return a subscription whose plugin implements these ``hooks``."""
    found = {hook: make_implementation(hook, function) for hook, function in hooks.items()}
    return Subscription(name, make_handlers(found), options)
