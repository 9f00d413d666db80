import contextlib
import socket
from pathlib import Path

from passivator.drivers.local_ports import FIRST, LAST, LOOPBACK, claim_port


def test_what_one_passivator_has_chosen_no_other_chooses_although_nothing_listens_yet(tmp_path: Path) -> None:
    mine, others = claim_port(f"{tmp_path} acme"), claim_port(f"{tmp_path} acme")
    assert mine is not None
    assert others is not None
    with contextlib.closing(socket.socket()) as application:
        application.bind((LOOPBACK, mine.port))
    assert mine.port != others.port
    assert FIRST <= mine.port <= LAST
    mine.release()
    others.release()


def test_a_tenant_gets_its_own_port_again_and_another_tenant_another(tmp_path: Path) -> None:
    first = claim_port(f"{tmp_path} acme")
    assert first is not None
    first.release()
    first.release()
    again, other = claim_port(f"{tmp_path} acme"), claim_port(f"{tmp_path} other")
    assert again is not None
    assert other is not None
    assert again.port == first.port, "a proxy may still know it as this tenant's"
    assert other.port != first.port
    again.release()
    other.release()


def test_a_port_that_somebody_has_is_not_chosen(tmp_path: Path) -> None:
    first = claim_port(f"{tmp_path} acme")
    assert first is not None
    first.release()
    with contextlib.closing(socket.socket()) as somebody:
        somebody.bind((LOOPBACK, first.port))
        somebody.listen()
        second = claim_port(f"{tmp_path} acme")
        assert second is not None
        assert second.port != first.port
        second.release()
