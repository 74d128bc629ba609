"""Measurements: ratios to baselines that run alternately in the same call."""
