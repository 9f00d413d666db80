"""Several worker processes behind one listener: ``gogeta serve --workers N``.

The kernel spreads visitors over the workers (SO_REUSEPORT); each worker is a whole proxy with a loop of its own. The
supervisor serves nobody itself: it starts workers, replaces those that die, shows the metrics and readiness of all of
them together on the one admin listener, and passes a stop on. ``gogeta.admin.reports`` is what workers tell it.
"""
