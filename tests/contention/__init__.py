"""Two at a time on PostgreSQL: one stands still at a given statement, the other goes on."""
