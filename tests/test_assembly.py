"""Tests of `router.assembly`: what is set must be for somebody, and nothing twice."""

import logging

import pytest

from router import Router
from router.errors import ConfigError
from router.hookspecs import hookimpl
from tests.posting import StubSource

# One engine is enough: what is tested is what is made of settings, not SQL.
pytestmark = pytest.mark.engines("sqlite")


class Crm:
    """A plugin."""

    @hookimpl
    def on_message(self) -> None:
        """Do nothing."""


def test_options_for_nobody_are_told(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """In code, too, a name that is no plugin's is a warning, no refusal."""
    with caplog.at_level(logging.WARNING):
        Router(database, plugins=[Crm()], subscriptions={"crm": {"rate": 5}, "cmr": {"rate": 5}})

    assert caplog.messages == ["the settings speak of plugin 'cmr', which is not loaded"]


def test_two_sources_of_one_name_are_refused(database: str) -> None:
    """Neither is taken by chance."""
    with pytest.raises(ConfigError, match="two sources are called 'wa': rename one"):
        Router(database, sources=[StubSource("wa"), StubSource("wa")])
