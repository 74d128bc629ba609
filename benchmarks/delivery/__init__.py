"""Measurements of delivery: what it costs, how fast it is, and whom a failing one disturbs."""
