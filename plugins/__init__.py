"""The plugins that come with the router: one package or module each."""
