"""A router for tests of plugins: the real engine, on a file and by a clock of the test's own."""

from router.testing.harness.clock import HandClock
from router.testing.harness.deliveries import Deliveries, Delivery
from router.testing.harness.harness import Harness
from router.testing.harness.logs import make_log

__all__ = ["Deliveries", "Delivery", "HandClock", "Harness", "make_log"]
