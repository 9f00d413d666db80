"""Which declarations follow from labels: what is declared by hand counts, then what is in force, then who is older."""

from typing import Any

from gogeta.domain.discovery import Refusal, Refused
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName, read_tenant
from passivator.core.discovery import Verdict, settle
from passivator.core.labels import Found


def tenant(name: str, *hosts: str, discovered: bool = True, group: str = "g", **more: Any) -> Tenant:  # noqa: ANN401
    declared = {"name": name, "hosts": list(hosts), "docker": {"container": name}, "group": group, **more}
    return read_tenant({**declared, "discovered": discovered}, what="test")


def found(name: str, *hosts: str, source: str = "", created: int = 1, **more: Any) -> Found:  # noqa: ANN401
    return Found(
        tenant=tenant(name, *hosts, **more), source=source or f"container {name}", created=created, running=False
    )


def records(*tenants: Tenant) -> dict[TenantName, TenantRecord]:
    return {each.name: TenantRecord(tenant=each, revision=1) for each in tenants}


def settled(
    labels: list[Found],
    declared: list[Tenant],
    refused: tuple[Refusal, ...] = (),
    *,
    led: bool = True,
    **more: Any,  # noqa: ANN401
) -> Verdict:
    return settle(labels, refused, records(*declared), group="g", led=lambda _: led, **more)


def test_what_is_new_and_what_is_different_is_written_and_nothing_else() -> None:
    same, changed = tenant("same", "s.test"), tenant("changed", "c.test")
    verdict = settled(
        [found("same", "s.test"), found("changed", "c.test", port=81), found("new", "n.test")], [same, changed]
    )
    assert [each.name for each in verdict.put] == ["changed", "new"]
    assert not verdict.refused
    assert not verdict.missing


def test_only_what_this_group_discovered_is_ever_missing() -> None:
    declared = [
        tenant("ours", "a.test"), tenant("byhand", "b.test", discovered=False), tenant("theirs", "c.test", group="h"),
    ]  # fmt: skip
    assert settled([], declared).missing == ("ours",)


def test_a_declaration_by_hand_keeps_its_name() -> None:
    verdict = settled([found("web", "new.test")], [tenant("web", "old.test", discovered=False)])
    assert not verdict.put
    (refusal,) = verdict.refused
    assert refusal.why is Refused.CONFLICT
    assert refusal.message == "tenant web is declared by hand, and that counts; `gogeta rm web` ends it"


def test_a_declaration_by_hand_keeps_its_host_also_against_labels_that_had_it() -> None:
    by_hand = tenant("byhand", "a.test", discovered=False)
    verdict = settled([found("web", "a.test")], [by_hand, tenant("web", "a.test")])
    assert not verdict.put
    assert verdict.missing == ("web",)
    (refusal,) = verdict.refused
    assert refusal.names == ("web", "byhand")
    assert refusal.message == "host a.test is tenant byhand's (declared by hand), which keeps it"


def test_of_two_new_claims_to_a_host_the_older_gets_it_and_both_are_told_of() -> None:
    verdict = settled([found("older", "a.test", created=1), found("newer", "b.test", "a.test", created=2)], [])
    assert [each.name for each in verdict.put] == ["older"]
    (refusal,) = verdict.refused
    assert (refusal.source, refusal.names) == ("container newer", ("newer", "older"))
    assert "container older" in refusal.message


def test_what_is_in_force_stays_when_its_container_was_made_anew() -> None:
    verdict = settled(
        [found("newer", "a.test", created=2), found("older", "a.test", created=9)], [tenant("older", "a.test")]
    )
    assert not verdict.put
    assert [refusal.names for refusal in verdict.refused] == [("newer", "older")]


def test_a_host_in_force_is_not_taken_by_the_new_labels_of_another_one_in_force() -> None:
    declared = [tenant("older", "a.test"), tenant("other", "b.test")]
    verdict = settled([found("older", "b.test", created=1), found("other", "b.test", created=2)], declared)
    assert not verdict.put
    assert not verdict.missing
    assert [refusal.names for refusal in verdict.refused] == [("older", "other")]


def test_two_may_change_places() -> None:
    declared = [tenant("one", "a.test"), tenant("two", "b.test")]
    verdict = settled([found("one", "b.test"), found("two", "a.test")], declared)
    assert {each.name: each.hosts for each in verdict.put} == {"one": ("b.test",), "two": ("a.test",)}


def test_refused_labels_leave_what_they_declared_when_they_were_right() -> None:
    refusal = Refusal(source="container web", why=Refused.INVALID, message="gogeta.port: ...", names=("web",))
    verdict = settled([found("thief", "a.test")], [tenant("web", "a.test")], (refusal,))
    assert not verdict.missing
    assert not verdict.put
    assert [each.source for each in verdict.refused] == ["container web", "container thief"]


def test_a_second_claim_to_a_name_is_refused_and_wrong_labels_do_not_hold_it_up() -> None:
    wrong = Refusal(source="container b", why=Refused.INVALID, message="...", names=("web",))
    verdict = settled(
        [found("web", "a.test", source="container a", port=81), found("web", "c.test", source="container c")],
        [tenant("web", "a.test")],
        (wrong,),
    )
    assert [each.port for each in verdict.put] == [81]
    assert verdict.refused[1].message == "tenant web is container a already; gogeta.name gives it another name"


def test_what_another_group_discovered_is_taken_over_only_when_nobody_leads_that_group() -> None:
    theirs = [tenant("web", "a.test", group="h")]
    assert settled([found("web", "a.test")], theirs, led=True).refused[0].message == (
        "tenant web was discovered by group h, on another engine"
    )
    assert [each.group for each in settled([found("web", "a.test")], theirs, led=False).put] == ["g"]


def test_a_declaration_that_cannot_be_read_is_not_written_over() -> None:
    verdict = settled([found("web", "a.test")], [], unreadable={"web"})
    assert not verdict.put
    assert verdict.refused[0].message == "tenant web is declared, and its declaration cannot be read"
