"""What the benchmarks share: interleaved timing, gates, contestants, the plain nets."""
