"""The words both programs share: tenants, their states, and the rules between them.

Everything here is pure. It knows no clock, no socket, no registry and no runtime: time and facts come in as
arguments, decisions go out as values. Both ``gogeta`` and ``passivator`` stand on it, so that there is one answer
to "what is this tenant, and what does a visitor meet?".
"""
