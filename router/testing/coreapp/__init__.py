"""A Coreapp that behaves: the On-Premises client of WhatsApp Business, simulated for tests."""

from router.testing.coreapp.coreapp import Coreapp
from router.testing.coreapp.courier import Courier
from router.testing.coreapp.ledger import Entry, Ledger, Summary
from router.testing.coreapp.routes import Rules
from router.testing.coreapp.running import RunningCoreapp, running_coreapp
from router.testing.coreapp.settings import DEFAULTS, NEEDS_RESTART, Callback

__all__ = [
    "DEFAULTS",
    "NEEDS_RESTART",
    "Callback",
    "Coreapp",
    "Courier",
    "Entry",
    "Ledger",
    "Rules",
    "RunningCoreapp",
    "Summary",
    "running_coreapp",
]
