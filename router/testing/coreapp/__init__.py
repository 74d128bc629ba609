"""A Coreapp that behaves: the On-Premises client of WhatsApp Business, simulated for tests."""

from router.testing.coreapp.coreapp import Coreapp, running_coreapp
from router.testing.coreapp.hosting import Certificate
from router.testing.coreapp.settings import DEFAULTS, NEEDS_RESTART

__all__ = ["DEFAULTS", "NEEDS_RESTART", "Certificate", "Coreapp", "running_coreapp"]
