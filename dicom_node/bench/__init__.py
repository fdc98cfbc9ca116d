"""Measure the node beside other programs that do the same work. Measures and prints; never judges."""
