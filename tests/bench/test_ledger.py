from collections import Counter
from pathlib import Path

from bench.lifecycle.ledger import Birth, Ledger, read_ledger
from bench.lifecycle.outcome import Outcome
from bench.lifecycle.verdict import Verdict, Visit
from bench.many_wakes import Started
from bench.one_wake import Woken


def ledger(*spans: tuple[float, float | None]) -> Ledger:
    births = [Birth(f"t{number}", f"i{number}", *span) for number, span in enumerate(spans)]
    return Ledger({birth.instance: birth for birth in births})


def outcome(book: Ledger, *visits: Visit) -> Outcome:
    return Outcome(list(visits), book, 1, 10.0, Counter(), 0, 9, 0, Counter())


def test_a_ledger_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    assert read_ledger(path).starts() == 0
    path.write_text(
        "a i1 born 1000.5\na i1 listening 1020.0\nb i2 born 1001.0\na i1 post r1 ff\na i1 post r1 ff\nb i2 lis"
    )
    book = read_ledger(path)
    assert (book.starts(), book.starts("a"), book.starts("c")) == (2, 1, 0)
    assert (book.births["i1"].listening, book.births["i2"].listening) == (1020.0, None)
    assert book.posts == {("r1", "ff"): 2}


def test_starts_at_the_same_time_are_counted_from_birth_to_listening() -> None:
    assert ledger().most_at_once() == 0
    assert ledger((0, 10), (10, 20), (20, 30)).most_at_once() == 1
    assert ledger((0, 10), (5, 15), (9, 20), (16, 30)).most_at_once() == 3
    assert ledger((0, None), (5, None), (500, 600)).most_at_once() == 3, "one that never listened never ended its start"


def test_a_body_taken_twice_or_changed_is_found() -> None:
    own = Visit("post", "t0", 0, "r1", status=200, whose="t0", instance="i0", digest="ff", verdict=Verdict.OWN)
    book = ledger((0, 1), (2, 3))
    book.posts["r1", "ff"] = 1
    assert outcome(book, own).violations(1) == []
    book.posts["r1", "ff"] = 2
    assert outcome(book, own).violations(1) == ["the body of r1 was taken 2 times"]
    book.posts = Counter({("r1", "ff"): 1, ("r1", "fe"): 1})
    assert outcome(book, own).violations(1) == ["r1 was taken with 2 different bodies"]
    book.posts = Counter()
    assert len(outcome(book, own).violations(1)) == 1, "answered, and never taken"
    book.posts["r1", "ff"] = 1
    book.births["i0"].tenant = "t1"
    assert len(outcome(book, own).violations(1)) == 1, "answered by another tenant's start"


def test_lost_requests_and_too_few_cycles_are_told() -> None:
    lost = Visit("get", "t0", 0, "r1", verdict=Verdict.LOST)
    assert outcome(ledger((0, 1)), lost).violations(1) == ["1 requests lost", "0 cycles, 1 were wanted"]


def test_more_than_one_start_and_who_was_not_held_are_told() -> None:
    woken = Woken(4, 4, 4, [], 1, 1, {"before": 0, "connected": 4096, "held": 12288}, [1.0])
    assert (woken.violations(), woken.per_connection(), woken.per_held()) == ([], 1024, 2048)
    woken.starts = woken.wakes = 2
    woken.held, woken.others = 3, ["502 b''"]
    assert woken.violations() == [
        "2 starts",
        "2 wakes",
        "3 of 4 were held at the same time",
        "not the tenant's own answer: 502 b''",
    ]


def test_the_order_of_starts_is_compared_with_that_of_asking() -> None:
    def started(begun: str) -> Started:
        return Started([], 3, 4, 3, 1.0, list("abcd"), list(begun), [])

    assert (started("abcd").correlation(), max(started("abcd").displacements())) == (1.0, 0)
    assert (started("dcba").correlation(), max(started("dcba").displacements())) == (-1.0, 3)
    assert max(started("bacd").displacements()) == 1
    assert started("abcd").violations() == []
    late = started("abcd")
    late.most, late.starts = 4, 5
    late.visits = [Visit("get", "a", 0, "a-get-1", status=503, code="wake-timeout", verdict=Verdict.LATE)]
    assert late.violations()[:2] == ["4 starts at the same time, 3 are allowed", "5 starts of 4 tenants"]
    assert "a-get-1 was not served: 503 wake-timeout" in late.violations()[2]
