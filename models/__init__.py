"""Neural networks only: builders, registry and shipped weights."""
