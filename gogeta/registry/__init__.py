"""The registry: where declarations, desired states, observed states and last accesses live.

Three layers, each knowing only the one below: a *store* (``store.py``: keys, bytes, revisions, watches; two real
implementations and one for tests), the *registry* (``registry.py``: the product's own operations, every rule of who may
change what), and the *mirror* (``mirror.py``: a live copy in memory for those who have to decide at once).
"""
