"""A client of the settings of a Coreapp, the heart of WhatsApp's On-Premises API."""

from router.coreapp.client import Coreapp, Settings
from router.coreapp.login import Login, read_login, write_login
from router.coreapp.settings import Change, find_changes, flatten, nest

__all__ = [
    "Change",
    "Coreapp",
    "Login",
    "Settings",
    "find_changes",
    "flatten",
    "nest",
    "read_login",
    "write_login",
]
