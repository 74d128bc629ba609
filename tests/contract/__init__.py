"""Tests of what is promised to the outside, through the doors that the outside uses."""
