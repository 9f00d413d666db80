"""Measurements of the real programs: `python -m bench SUBCOMMAND`. bench/README.md has figures and how to read them."""
