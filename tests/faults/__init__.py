"""Tests that break things: processes are killed, disks watched."""
