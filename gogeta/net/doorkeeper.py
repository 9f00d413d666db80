"""Before a sleeping tenant is woken: may this request do that? Who may not is answered here, and counted.

It answers for a tenant that is asleep, and for no other. On its way up, whoever comes waits like everybody and wakes
nothing. Awake, it gets everything; but what would not have woken it is no use of it either: else a monitor would keep
it awake for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gogeta.core.callers import CallerRules, Unwoken, Why, without_waking
from gogeta.core.census import Census
from gogeta.core.refusal import Reason
from gogeta.core.unwoken import asleep_answer, too_many_wakes
from gogeta.core.visitor_address import visitors_address
from gogeta.core.wakes_by_address import WakesByAddress
from gogeta.domain.bots import known_bots
from gogeta.domain.lifecycle import Desired
from gogeta.domain.wake_budget import milliseconds_to_wait
from gogeta.kit.clock import wall_ms

if TYPE_CHECKING:
    from gogeta.core.pages import Page
    from gogeta.net.exchange import Exchange
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy
    from gogeta.settings import ServeSettings


LONG_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Charge:
    """A wake on an address's account, until it is known whether it was one."""

    whose: str
    at_ms: int


class Doorkeeper:
    """Decides with the rules of ``core/callers.py``, the tenants' budgets and those of addresses."""

    def __init__(self, proxy: Proxy, settings: ServeSettings) -> None:
        """The settings hold for tenants that say nothing else."""
        self._proxy = proxy
        self._rules = CallerRules(
            bots=settings.asleep_bots,
            prefetch=settings.asleep_prefetch,
            favicon=settings.asleep_favicon,
            robots=settings.asleep_robots,
            asleep_paths=settings.asleep_paths,
            is_bot=known_bots(settings.asleep_bot_names),
        )
        self._per_hour = settings.wakes_per_hour
        self._trusted = settings.trusted_proxies
        self._counted_as = Census(0, settings.trusted_proxies).whose
        self.by_address = WakesByAddress(settings.wakes_per_hour_per_address)

    def per_hour(self, entry: Entry) -> int:
        """Most wakes of this tenant by visitors in an hour; 0: no limit."""
        own = entry.record.tenant.wake.per_hour
        return self._per_hour if own is None else own

    def uses(self, exchange: Exchange, entry: Entry) -> bool:
        """Whether a request is a use of its tenant, awake or not: who would not have woken it keeps it awake no more.

        Unless it takes its time: then something is going on.
        """
        return self._judge(exchange, entry) is None or self._proxy.clock() - exchange.began >= LONG_SECONDS

    def _judge(self, exchange: Exchange, entry: Entry) -> Unwoken | None:
        return without_waking(exchange.method, exchange.target, exchange.head, entry.record.tenant.wake, self._rules)

    def answers(self, exchange: Exchange, entry: Entry) -> bool:
        """Answer a request that may not wake this sleeping tenant; False when it may."""
        unwoken = self._judge(exchange, entry)
        if unwoken is not None:
            page = asleep_answer(
                unwoken,
                html=_reads_html(exchange),
                request_id=exchange.request_id.decode(),
                theme=self._proxy.theming.theme,
            )
            return self._answer(exchange, page, unwoken.why, Reason.ASLEEP)
        if entry.waking is not None and not entry.waking.done():
            # Somebody's wake is under way: this one adds none.
            return False
        if entry.record.desired.state is Desired.STARTED:
            # It was given up: one more try is no wake, and how often there is one is passivator's to say.
            return False
        if wait := milliseconds_to_wait(entry.record.desired.recent_wakes, wall_ms(), self.per_hour(entry)):
            return self._too_many(exchange, Why.TENANT_BUDGET, Reason.TENANT_WAKES, wait)
        if wait := self.by_address.wait(self._whose(exchange), self._now_ms()):
            return self._too_many(exchange, Why.ADDRESS_BUDGET, Reason.ADDRESS_WAKES, wait)
        return False

    def charge(self, exchange: Exchange) -> Charge:
        """Put a wake on the account of whoever asks; ``refund`` takes it back."""
        charge = Charge(self._whose(exchange), self._now_ms())
        self.by_address.take(charge.whose, charge.at_ms)
        return charge

    def refund(self, charge: Charge) -> None:
        """It was no wake."""
        self.by_address.give_back(charge.whose, charge.at_ms)

    def _whose(self, exchange: Exchange) -> str:
        seen = visitors_address(exchange.downstream.peer, exchange.head.forwarding, self._trusted)
        return self._counted_as(seen)

    def _now_ms(self) -> int:
        return int(self._proxy.loop_time() * 1000)

    def _too_many(self, exchange: Exchange, why: Why, reason: Reason, wait_ms: int) -> bool:
        page = too_many_wakes(
            reason,
            wait_ms,
            html=_reads_html(exchange),
            request_id=exchange.request_id.decode(),
            theme=self._proxy.theming.theme,
        )
        return self._answer(exchange, page, why, reason)

    def _answer(self, exchange: Exchange, page: Page, why: Why, reason: Reason) -> bool:
        self._proxy.tally.unwoken[why.value] += 1
        exchange.reply(page, reason)
        return True


def _reads_html(exchange: Exchange) -> bool:
    return b"text/html" in exchange.head.field(b"accept")
