"""The protocol between proxies, passivator and registry, checked in thousands of seeded lives on virtual time.

Real code: everything of ``gogeta.net`` that a request passes (connections, parser, forwarder, fleet, waker, activity,
dialer), ``gogeta.core``, ``gogeta.domain``, ``gogeta.registry`` above the store, all of ``passivator`` with its Docker
driver. Simulated: time, the network, visitors, applications in containers (``network.py``, ``visitors.py``), the
registry's server (``registry.py``), the Docker engine (``engine.py``).

A seed is a life: two or three proxies, one or two passivators and three tenants are put together (``parts.py``), used
by visitors and operators, and troubled (``life.py``): processes are killed at any await, frozen, cut off; the
registry and the engine die, hang and are slow; watches break, come late and meet compacted history; answers get lost;
containers crash and are handled by others. Then there is peace: everybody must be served, and then fall asleep.
``judge.py`` says what must hold, and exactly what excuses an exception. The same seed is the same life, on every
machine.

    python -m tests.simulation --runs 10000 --steps 50      figures, and one line for each life that went wrong
    python -m tests.simulation --seed 4711 --trace          one life, line by line
    python -m tests.simulation --break no-take-back         with one guard taken out of the code

To add something to it:

- another process: a ``Part`` in ``parts.py``, one more in ``Life.parts``;
  kills, freezes and cuts then find it by themselves;
- another way to trouble it: a function in ``life.TROUBLES``, and its name among what the judge says it excuses;
- another order of an operator: a function in ``life.ORDERS``;
- another kind of request: a line in ``life.KINDS``, what the visitor sends in ``visitors.py``, what the application
  does in ``network.Application``;
- another field of a tenant (a policy, a budget, pause tiers): draw it in ``Life._tenant``;
- another promise: a method of ``Judge``, called where it could break;
- and for each, a mutant in ``mutants.py`` that takes it away, so that it is known to be looked at.

It must not know how decisions are made: nothing here asks the code what it would do.
"""
