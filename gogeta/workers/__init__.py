"""The processes of ``gogeta serve``: several workers behind one listener, and one version after another.

The kernel spreads visitors over the workers (SO_REUSEPORT); each worker is a whole proxy with a loop of its own. The
supervisor serves nobody itself: it holds the sockets, starts workers, replaces those that die, has a new version take
over, shows the metrics and readiness of all of them together on the one admin listener, and passes a stop on.
``gogeta.admin.reports`` is what workers tell it. With one worker there is no supervisor until there is a successor.
"""
