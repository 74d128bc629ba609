"""What tests of programs around a router are made with; each part is imported by its own name."""
