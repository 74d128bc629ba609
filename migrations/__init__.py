"""The revisions of the tables, run by `router.migrate`."""
