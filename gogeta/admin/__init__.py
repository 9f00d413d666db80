"""What operators see of the proxy: its metrics.

The listener itself is ``kit/admin_site.py``, which both programs use.
"""
