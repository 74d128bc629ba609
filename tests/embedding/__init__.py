"""A host and a router inside it: one database, one process, and neither in the way of the other."""
