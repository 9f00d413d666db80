"""The loads: each a program of its own that is pinned beside the backend, drives one proxy and prints JSON figures."""
