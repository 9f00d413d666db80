"""When the embedded store looks at its file: told by the system, and by the clock where that fails."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogeta.registry import embedded_news
from gogeta.registry.embedded_file import EmbeddedFile
from gogeta.registry.embedded_news import News
from gogeta.registry.store import Put


@pytest.fixture
def path(tmp_path: Path) -> str:
    place = tmp_path / "file"
    place.touch()
    return str(place)


@pytest.fixture
def news(path: str) -> Iterator[News]:
    made = News(path)
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock tells nothing for longer than a test lasts."""
    monkeypatch.setattr(embedded_news, "TOLD", 1000.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.timeout(30)
def test_a_poke_and_a_touch_end_a_wait(news: News, path: str) -> None:
    for end in (news.poke, lambda: os.utime(path), lambda: Path(path).write_text("more")):
        threading.Timer(0.05, end).start()
        news.wait(watching=True)
    news.poke()
    news.wait(watching=False)


@pytest.mark.usefixtures("patient")
@pytest.mark.timeout(30)
def test_every_commit_of_another_process_is_told_of_and_a_reader_can_read_it_then(tmp_path: Path) -> None:
    path = str(tmp_path / "registry.db")
    writer, reader = EmbeddedFile(path), EmbeddedFile(path)
    news = News(path)
    for number in range(20):
        before = reader.position()
        threading.Timer(0.01, writer.commit, ([Put("/k", str(number).encode())], ())).start()
        while reader.position() == before:
            news.wait(watching=True)
    assert news.told
    news.close()
    writer.close()
    reader.close()


def test_what_changes_nothing_is_not_told_of(tmp_path: Path) -> None:
    path = str(tmp_path / "registry.db")
    file = EmbeddedFile(path)
    news = News(path)
    lease = file.grant(30)
    file.commit([Put("/k", b"")], ())
    news.wait(watching=True)
    before = Path(path).stat().st_mtime_ns
    assert file.keep_alive(lease)
    file.list("/")
    assert Path(path).stat().st_mtime_ns == before
    news.close()
    file.close()


def test_where_the_clock_finds_what_was_not_told_of_it_looks_more_often(news: News, path: str) -> None:
    said = []
    for told_of in (False, False, True, False, False, False):
        if told_of:
            os.utime(path)
            news.wait(watching=True)
        news.looked(changed=True, own=False)
        said.append(news.told)
    assert said == [True, True, True, True, True, False]
    began = time.monotonic()
    news.wait(watching=True)
    assert time.monotonic() - began >= embedded_news.UNTOLD * 0.9


def test_what_this_process_changes_itself_says_nothing_of_the_others(news: News) -> None:
    for _ in range(10):
        news.looked(changed=True, own=True)
    assert news.told


def test_without_watches_the_clock_tells(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> int:
        raise OSError(24, "too many")

    monkeypatch.setattr(embedded_news, "watch_file", refuse)
    news = News(path)
    assert not news.told
    news.wait(watching=True)
    news.close()


def test_a_file_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        embedded_news.watch_file(str(tmp_path / "nothing"))
