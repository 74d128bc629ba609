"""What the benchmarks conclude from figures, and how they go on where they stopped."""
