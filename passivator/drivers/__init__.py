"""Runtime drivers: how tenants are started and stopped. ``base.py`` is the contract all of them keep."""
