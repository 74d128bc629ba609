"""One file a revision, numbered in order; a released one is never changed."""
