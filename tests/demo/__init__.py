"""Tests of the demo: its story, its looks, its project, and what it does when something fails."""
