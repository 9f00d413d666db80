"""gogeta: an async dynamic reverse proxy that wakes sleeping tenants on their first request."""

__version__ = "0.1.0"
