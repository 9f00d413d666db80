"""passivator's decisions: what to do next with a tenant, when it is idle, when to try again.

Pure: time and facts come in, values go out. The shell around it (``worker.py``, ``controller.py``) performs them.
"""
