"""Programs that look at sites by themselves, by the names they give in ``User-Agent``: the table, and how it is read.

Only names that are nobody else's stand here, because who is taken for a bot does not wake anything: a person's browser,
a customer's own program and a webhook must never be. So there is no general word such as ``bot`` (some phones are
called so), and health checks of load balancers are left out as well, because they would take 503 for the proxy being
ill: those have a path, which is for ``asleep_paths``. Operators add names and take names out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

SEARCH: Final = (
    "Googlebot",
    "Google-InspectionTool",
    "GoogleOther",
    "AdsBot-Google",
    "Mediapartners-Google",
    "Storebot-Google",
    "bingbot",
    "AdIdxBot",
    "DuckDuckBot",
    "Baiduspider",
    "YandexBot",
    "YandexImages",
    "YandexMobileBot",
    "Yahoo! Slurp",
    "Applebot",
    "PetalBot",
    "SeznamBot",
    "Sogou web spider",
    "Qwantify",
    "MojeekBot",
    "coccocbot-web",
)
ARCHIVES_AND_MODELS: Final = (
    "GPTBot",
    "OAI-SearchBot",
    "ClaudeBot",
    "PerplexityBot",
    "CCBot",
    "Bytespider",
    "Amazonbot",
    "meta-externalagent",
    "ia_archiver",
    "archive.org_bot",
)
MARKETING: Final = (
    "AhrefsBot",
    "AhrefsSiteAudit",
    "SemrushBot",
    "SiteAuditBot",
    "MJ12bot",
    "DotBot",
    "rogerbot",
    "BLEXBot",
    "DataForSeoBot",
    "serpstatbot",
    "Screaming Frog SEO Spider",
    "BuiltWith",
)
PREVIEWS: Final = (
    "facebookexternalhit",
    "Facebot",
    "Twitterbot",
    "LinkedInBot",
    "Slackbot-LinkExpanding",
    "Slack-ImgProxy",
    "Discordbot",
    "TelegramBot",
    "SkypeUriPreview",
    "Pinterestbot",
    "redditbot",
    "Iframely",
    "Embedly",
)
SCANNERS: Final = (
    "CensysInspect",
    "Expanse",
    "zgrab",
    "masscan",
    "NetcraftSurveyAgent",
    "InternetMeasurement",
    "Nmap Scripting Engine",
)
MONITORS: Final = (
    "UptimeRobot",
    "Pingdom.com_bot",
    "StatusCake",
    "Uptime-Kuma",
    "Better Uptime Bot",
    "Better Stack Better Uptime Bot",
    "Site24x7",
    "NewRelicPinger",
    "DatadogSynthetics",
    "Checkly",
    "HetrixTools Uptime Monitoring Bot",
    "FreshpingBot",
    "updown.io daemon",
    "Uptimebot",
    "NodePing",
    "OhDear.app",
    "Gatus",
    "Statping",
    "Blackbox Exporter",
    "check_http",
    "Cloudflare-Healthchecks",
    "GoogleStackdriverMonitoring-UptimeChecks",
    "Amazon-Route53-Health-Check-Service",
)
NAMES: Final = (*SEARCH, *ARCHIVES_AND_MODELS, *MARKETING, *PREVIEWS, *SCANNERS, *MONITORS)
"""The table."""

MAX_CHANGES: Final = 256
_MAX_NAME: Final = 64
_LOOKED_AT: Final = 1024
"""Bytes of a ``User-Agent``: no honest one is longer."""
_REMEMBERED: Final = 512
_LOWER: Final = tuple(name.lower() for name in NAMES)


def parse_bot_names(value: object) -> tuple[str, ...]:
    """Changes to the table, as a list or as text with commas between: ``NAME`` adds one, ``-NAME`` takes one out.

    Raises ValueError for a name that is too long, and for one that cannot be taken out since it is not there.
    """
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    changes = tuple(text for item in items if (text := str(item).strip()))
    for change in changes:
        name = change.removeprefix("-").strip()
        if not 2 <= len(name) <= _MAX_NAME or not name.isascii() or not name.isprintable():
            raise ValueError(f"expected names of 2 to {_MAX_NAME} characters, as in User-Agent, not {change!r}")
        if change.startswith("-") and name.lower() not in _LOWER:
            raise ValueError(f"{name!r} is not in the list of known bots, so it cannot be taken out")
    if len(changes) > MAX_CHANGES:
        raise ValueError(f"expected at most {MAX_CHANGES} names, not {len(changes)}")
    return changes


def known_bots(changes: Iterable[str] = ()) -> Callable[[bytes], bool]:
    """Whether a ``User-Agent`` is one of a known bot; ``changes`` as ``parse_bot_names`` reads them.

    A name counts where it stands as a word, in any case: ``Googlebot-Image/1.0`` has one, ``CUBOT_X19`` has none.
    """
    names = dict.fromkeys(_LOWER)
    for change in changes:
        if change.startswith("-"):
            names.pop(change[1:].strip().lower(), None)
        else:
            names[change.lower()] = None
    words = [
        (name.encode(), re.compile(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])".encode()).search) for name in names
    ]

    @lru_cache(maxsize=_REMEMBERED)
    def known(user_agent: bytes) -> bool:
        said = user_agent.lower()
        # Plain search first: one expression of all names takes longer.
        return any(name in said and word(said) is not None for name, word in words)

    return lambda user_agent: known(user_agent[:_LOOKED_AT])
