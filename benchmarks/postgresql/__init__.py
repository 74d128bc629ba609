"""Benchmarks of the router on PostgreSQL, one process and several."""
