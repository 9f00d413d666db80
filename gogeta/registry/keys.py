"""The public key schema, version 1 (docs/registry.md is its reference).

Kinds stand before names, so that an etcd role can be granted one kind; last accesses and members have prefixes of their
own, so that the watch of every proxy does not see them.
"""

from __future__ import annotations

from typing import Final

from gogeta.domain.tenant import TenantName

ROOT: Final = "/gogeta/v1/"
STATE: Final = ROOT + "state/"
"""What mirrors watch: declarations, desired and observed states."""
TENANTS: Final = STATE + "tenants/"
"""Declarations: what each tenant is, how it is run, and its policies."""
DESIRED: Final = STATE + "desired/"
"""What each tenant should be; one without this key is passivated."""
OBSERVED: Final = STATE + "observed/"
"""What each tenant is, as the passivator that runs it last saw it."""
ACCESS: Final = ROOT + "access/"
"""When a proxy last had each tenant in use."""
MEMBERS: Final = ROOT + "members/"
"""Live processes of ours, each under a lease of its own."""
LEADERS: Final = ROOT + "leaders/"
"""One key for each group of passivators, under the lease of the one that acts for it."""
SUSPECTS: Final = ROOT + "suspects/"
"""Hints from proxies that a tenant does not answer; passivator looks at it at once and deletes the key."""
TIMELINE: Final = ROOT + "timeline/"
"""What happened to each tenant lately: written by the passivator that runs it, watched by nobody."""
WAKES: Final = ROOT + "wakes/"
"""What the proxy that asked for a tenant's last wake saw of it: written by that proxy, once a wake."""
VETOES: Final = ROOT + "vetoes/"
"""Why passivator keeps a tenant awake whose idle timeout is over; for whoever explains it."""
WEBHOOKS: Final = ROOT + "webhooks/"
"""For each group of passivators, up to where webhooks have been told; written and read by the one that leads."""
DISCOVERY: Final = ROOT + "discovery/"
"""For each group of passivators that discovers tenants by labels: labels that are not in force, and why; for people."""
TOKENS: Final = ROOT + "tokens/"
"""Tokens of the admin API: their roles, and the hashes of their secrets."""
GENERATION: Final = ROOT + "generation"
"""Written with every change of declarations and compared before it: two applies at once cannot both claim a host."""


def tenant_key(name: str) -> str:
    """The key of a tenant's declaration."""
    return TENANTS + name


def desired_key(name: str) -> str:
    """The key of its desired state."""
    return DESIRED + name


def observed_key(name: str) -> str:
    """The key of its observed state."""
    return OBSERVED + name


def access_key(name: str) -> str:
    """The key of its last access."""
    return ACCESS + name


def veto_key(name: str) -> str:
    """The key of what keeps it awake beyond its idle timeout."""
    return VETOES + name


def suspect_key(name: str) -> str:
    """The key of a hint that it does not answer."""
    return SUSPECTS + name


def timeline_key(name: str) -> str:
    """The key of what happened to it lately."""
    return TIMELINE + name


def wake_key(name: str) -> str:
    """The key of its last wake's report."""
    return WAKES + name


def webhook_key(group: str) -> str:
    """The key of how far a group has told its webhooks."""
    return WEBHOOKS + group


def discovery_key(group: str) -> str:
    """The key of what a group could not take from labels."""
    return DISCOVERY + group


def member_key(kind: str, member: str) -> str:
    """The key of a live process of ours."""
    return f"{MEMBERS}{kind}-{member}"


def leader_key(group: str) -> str:
    """The key of the one that acts for a group of passivators."""
    return LEADERS + group


def token_key(name: str) -> str:
    """The key of a token of the admin API."""
    return TOKENS + name


def name_of(key: str, prefix: str) -> TenantName:
    """The tenant that a key under ``prefix`` belongs to."""
    return TenantName(key[len(prefix) :])
