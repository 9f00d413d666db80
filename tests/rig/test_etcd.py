"""The etcd fixtures do what their documentation says."""

import httpx
import pytest

from tests.rig.etcd import EtcdCluster, EtcdFactory, EtcdServer


def test_a_node_keeps_its_data_over_a_crash(etcd: EtcdServer) -> None:
    etcd.put("a", "1")
    etcd.kill()
    etcd.start()
    assert etcd.get("a") == "1"


def test_a_node_is_empty_and_healthy_after_a_test_that_froze_it(etcd: EtcdServer) -> None:
    assert etcd.items() == {}
    etcd.put("a", "1")
    etcd.pause()


def test_a_frozen_node_was_thawed_for_the_next_test(etcd: EtcdServer) -> None:
    assert etcd.items() == {}


def test_compaction_forgets_history(etcd: EtcdServer) -> None:
    first = etcd.put("a", "1")
    etcd.put("a", "2")
    etcd.compact()
    with pytest.raises(RuntimeError, match="compacted"):
        etcd.call("/v3/kv/range", {"key": "YQ==", "revision": first})


def test_a_cluster_elects_another_leader(etcd_cluster: EtcdCluster) -> None:
    leader = etcd_cluster.leader()
    leader.put("a", "1")
    leader.kill()
    other = etcd_cluster.leader()
    assert other is not leader
    assert other.get("a") == "1"


def test_mutual_tls_refuses_a_client_without_a_certificate(make_etcd: EtcdFactory) -> None:
    server = make_etcd(tls=True, client_auth=True)
    server.put("a", "1")
    assert server.get("a") == "1"
    server.client_certificate = None
    with pytest.raises(httpx.TransportError):
        server.get("a")


def test_users_have_only_the_rights_they_were_given(make_etcd: EtcdFactory) -> None:
    server = make_etcd(users={"root": "secret", "proxy": "word"})
    server.grant("proxy", "/routes/", "READ")
    server.put("/routes/a", "1")
    token = server.call("/v3/auth/authenticate", {"name": "proxy", "password": "word"})["token"]
    answer = httpx.post(
        f"{server.url}/v3/kv/put",
        json={"key": "L3JvdXRlcy9h", "value": ""},
        headers={"Authorization": token},
        trust_env=False,
    )
    assert "permission denied" in answer.text
