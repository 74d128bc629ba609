"""What the router expects of sources and of plugins, as checks that their authors can run."""

from router.testing.conformance.plugins import PluginKit
from router.testing.conformance.sources import SourceCase, source_cases

__all__ = ["PluginKit", "SourceCase", "source_cases"]
