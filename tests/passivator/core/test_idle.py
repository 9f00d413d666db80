"""Never early, never while blind, never during a start; and in the end it does sleep."""

from gogeta.domain.state import Judgement
from passivator.core.idle import (
    CLOCK_MARGIN,
    FLUSH_SHARE,
    RECONNECT,
    AskAgain,
    IdlePolicy,
    NeverSleeps,
    Passivate,
    Verdict,
)

IDLE = 100.0
WALL = 1_800_000_000_000


def judge(
    policy: IdlePolicy, now: float, *, stored_ms: int = 0, idle: float | None = IDLE, wall_ms: int = WALL
) -> Verdict:
    return policy.judge("a", idle_timeout=idle, desired_revision=7, stored_ms=stored_ms, now=now, wall_ms=wall_ms)


def seeing(now: float = 0.0) -> IdlePolicy:
    policy = IdlePolicy()
    policy.has_sight(now)
    return policy


def test_a_tenant_sleeps_when_it_was_silent_for_its_idle_timeout_and_the_judgement_names_its_revisions() -> None:
    policy = seeing()
    policy.touched("a", 10.0)
    policy.accessed("a", 3, WALL, 0, 20.0)
    assert judge(policy, 30.0) == AskAgain(90.0)
    assert judge(policy, 119.9) != Passivate(Judgement(desired_revision=7, access_revision=3), 100.0)
    assert judge(policy, 120.0) == Passivate(Judgement(desired_revision=7, access_revision=3), 100.0)


def test_only_a_new_revision_is_a_use() -> None:
    policy = seeing()
    policy.accessed("a", 3, WALL, 0, 20.0)
    policy.accessed("a", 3, WALL, 0, 90.0)
    assert isinstance(judge(policy, 120.0), Passivate)
    policy.accessed("a", 4, WALL - 999_999_999, 0, 119.0)
    assert judge(policy, 120.0) == AskAgain(99.0), "the proxy's clock does not matter"


def test_becoming_ready_begins_the_timer_anew() -> None:
    policy = seeing()
    policy.accessed("a", 3, WALL, 0, 0.0)
    policy.touched("a", 80.0)
    assert judge(policy, 120.0) == AskAgain(60.0)


def test_never_is_never() -> None:
    assert judge(seeing(), 10**9, idle=None) == NeverSleeps()


def test_nothing_is_judged_before_the_registry_was_seen_or_while_it_is_away() -> None:
    policy = IdlePolicy()
    policy.touched("a", 0.0)
    assert isinstance(judge(policy, 10**6), AskAgain)
    policy.has_sight(0.0)
    policy.lost_sight(50.0)
    assert isinstance(judge(policy, 10**6), AskAgain)


def test_time_of_blindness_is_no_silence_and_proxies_get_time_to_write_what_they_held_back() -> None:
    policy = seeing()
    policy.touched("a", 0.0)
    policy.lost_sight(90.0)
    policy.lost_sight(95.0)
    policy.has_sight(1090.0)
    policy.has_sight(1091.0)
    # 90 s of silence were seen, so 10 are left; but nothing is judged before proxies could write.
    margin = RECONNECT + FLUSH_SHARE * IDLE
    assert judge(policy, 1095.0) == AskAgain(1090.0 + margin - 1095.0)
    assert isinstance(judge(policy, 1090.0 + margin), Passivate)


def test_a_use_during_the_outage_that_is_written_after_it_counts() -> None:
    policy = seeing()
    policy.touched("a", 0.0)
    policy.lost_sight(90.0)
    policy.has_sight(1090.0)
    policy.accessed("a", 9, WALL, 0, 1092.0)
    assert judge(policy, 1120.0) == AskAgain(72.0)


def test_many_short_outages_do_not_keep_a_tenant_awake_for_ever() -> None:
    policy = seeing()
    policy.touched("a", 0.0)
    now = 0.0
    for _ in range(100):
        policy.lost_sight(now + 60)
        policy.has_sight(now + 61)
        now += 61
        if isinstance(judge(policy, now + 50), Passivate):
            break
    else:
        raise AssertionError("awake for ever")
    assert now < 200


def test_after_a_restart_ages_begin_anew() -> None:
    policy = IdlePolicy()
    policy.accessed("a", 3, WALL - 150_000, 0, 0.0)
    policy.has_sight(0.5)
    assert judge(policy, 1.0, stored_ms=WALL - 150_000) == AskAgain(99.0)


def test_after_a_restart_what_slept_by_any_clock_sleeps_after_a_margin_of_watching() -> None:
    long_ago = WALL - round((2 * IDLE + CLOCK_MARGIN + 1) * 1000)
    policy = IdlePolicy()
    policy.accessed("a", 3, long_ago, 0, 0.0)
    policy.has_sight(0.5)
    assert judge(policy, 1.0, stored_ms=long_ago) == AskAgain(FLUSH_SHARE * IDLE - 1.0)
    assert isinstance(judge(policy, FLUSH_SHARE * IDLE, stored_ms=long_ago), Passivate)
    # One use seen by ourselves, or a recent change, and stored times say nothing any more.
    assert isinstance(judge(policy, FLUSH_SHARE * IDLE, stored_ms=WALL), AskAgain)
    policy.accessed("a", 4, long_ago, 0, 10.0)
    assert judge(policy, 50.0, stored_ms=long_ago) == AskAgain(60.0)


def test_a_wall_clock_that_jumps_puts_nothing_to_sleep() -> None:
    policy = seeing()
    policy.touched("a", 0.0)
    for wall in (0, WALL, WALL * 2):
        assert isinstance(judge(policy, 50.0, wall_ms=wall, stored_ms=WALL), AskAgain)


def test_a_removed_tenant_leaves_nothing_behind() -> None:
    policy = seeing()
    policy.accessed("a", 3, WALL, 2, 0.0)
    assert policy.in_flight("a") == 2
    policy.forget("a")
    assert policy.in_flight("a") == 0
    assert judge(policy, 200.0) == AskAgain(IDLE), "a new one of that name begins anew"
