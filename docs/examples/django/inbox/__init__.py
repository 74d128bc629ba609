"""The Django app that keeps messages."""
