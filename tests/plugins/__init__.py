"""The tests of the plugins that come with the router."""
