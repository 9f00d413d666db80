import pytest

from gogeta.api.feed import Feed, Missed


def numbers(found: object) -> list[int]:
    assert isinstance(found, list)
    return [event.number for event in found]


def test_goes_on_after_an_id() -> None:
    feed = Feed("a1", limit=4)
    assert feed.last_id == "a1-0"
    for each in range(3):
        feed.append("tenant", {"n": each})
    place = feed.number_of("a1-1")
    assert place == 1
    assert numbers(feed.after(1)) == [2, 3]
    assert numbers(feed.after(1, most=1)) == [2]
    assert numbers(feed.after(3)) == []


def test_keeps_no_more_than_its_limit_and_says_what_is_missed() -> None:
    feed = Feed("a1", limit=4)
    for each in range(10):
        feed.append("tenant", {"n": each})
    assert numbers(feed.after(6)) == [7, 8, 9, 10]
    assert isinstance(feed.after(5), Missed)


@pytest.mark.parametrize("text", ["b2-1", "a1-11", "a1-9999999999999999999"])
def test_an_id_of_another_run_is_no_place(text: str) -> None:
    feed = Feed("a1")
    for each in range(10):
        feed.append("tenant", {"n": each})
    assert isinstance(feed.number_of(text), Missed)


@pytest.mark.parametrize("text", ["", "a1", "a1-", "-1", "a1--1", "a1-01", "a1-1 ", "A1-1", "a1-1\n", "a1-" + "9" * 40])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an id that this feed gave"):
        Feed("a1").number_of(text)
