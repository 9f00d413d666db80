"""What is measured: one module for each, with ``NAME``, ``measure(plan) -> rows`` and ``targets(rows) -> targets``."""
