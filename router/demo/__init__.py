"""The demo: a short story played over HTTP to a router that runs in the same process."""
