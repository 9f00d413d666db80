"""The fixtures: thin handles on the parts in this package, each with the life time it promises."""

from collections.abc import Callable, Iterator

import pytest

from tests.rig.certificates import CertificateAuthority
from tests.rig.chromium import Chromium, need_chromium
from tests.rig.docker import DockerEngine, make_engine
from tests.rig.etcd import EtcdCluster, EtcdFactory, EtcdServer, need_etcd
from tests.rig.programs import ProcessRack
from tests.rig.relay import FaultRelay
from tests.rig.run_folder import RunFolder, clear_dead_runs

__all__ = [
    "certificates",
    "chromium",
    "docker",
    "docker_of_the_run",
    "etcd",
    "etcd_cluster",
    "etcd_cluster_of_the_run",
    "etcd_of_the_run",
    "make_etcd",
    "make_relay",
    "processes",
    "python_image",
    "run_folder",
]


@pytest.fixture(scope="session")
def run_folder() -> Iterator[RunFolder]:
    """The folder of this run. At the end, anything that a fixture left behind is removed and fails the run."""
    clear_dead_runs()
    folder = RunFolder()
    yield folder
    if left := folder.clear():
        raise AssertionError("left behind by the run:\n" + "\n".join(left))


@pytest.fixture
def processes(run_folder: RunFolder) -> Iterator[ProcessRack]:
    """Starts programs; ends them with the test, and fails it when one misbehaved."""
    rack = ProcessRack(run_folder)
    yield rack
    rack.end()


@pytest.fixture(scope="session")
def certificates(run_folder: RunFolder) -> CertificateAuthority:
    """A throw-away certificate authority."""
    return CertificateAuthority(run_folder.subfolder("certificates"))


@pytest.fixture(scope="session")
def etcd_of_the_run(run_folder: RunFolder) -> Iterator[EtcdServer]:
    """The one server that the tests with `etcd` share."""
    need_etcd()
    server = EtcdServer(run_folder)
    yield server
    server.remove()


@pytest.fixture
def etcd(etcd_of_the_run: EtcdServer) -> EtcdServer:
    """One node, healthy and empty, whatever an earlier test did to it."""
    etcd_of_the_run.start(wait=False)
    etcd_of_the_run.resume()
    etcd_of_the_run.wait_healthy()
    etcd_of_the_run.wipe()
    return etcd_of_the_run


@pytest.fixture(scope="session")
def etcd_cluster_of_the_run(run_folder: RunFolder) -> Iterator[EtcdCluster]:
    """The three nodes that the tests with `etcd_cluster` share."""
    need_etcd()
    cluster = EtcdCluster(run_folder)
    yield cluster
    cluster.remove()


@pytest.fixture
def etcd_cluster(etcd_cluster_of_the_run: EtcdCluster) -> EtcdCluster:
    """Three nodes, healthy and empty, whatever an earlier test did to them."""
    etcd_cluster_of_the_run.start()
    etcd_cluster_of_the_run.wipe()
    return etcd_cluster_of_the_run


@pytest.fixture
def make_etcd(run_folder: RunFolder, certificates: CertificateAuthority) -> Iterator[EtcdFactory]:
    """Makes further servers, ended with the test."""
    need_etcd()
    factory = EtcdFactory(run_folder, certificates)
    yield factory
    factory.remove()


@pytest.fixture(scope="session")
def docker_of_the_run(run_folder: RunFolder) -> Iterator[DockerEngine]:
    """The one engine that the tests with `docker` share."""
    engine = make_engine(run_folder)
    yield engine
    engine.remove()


@pytest.fixture
def docker(docker_of_the_run: DockerEngine) -> Iterator[DockerEngine]:
    """An engine that answers and is empty but for its images; what the test makes in it goes with the test."""
    yield docker_of_the_run
    docker_of_the_run.resume()
    docker_of_the_run.start()
    docker_of_the_run.clear()


@pytest.fixture(scope="session")
def python_image(docker_of_the_run: DockerEngine) -> str:
    """The name of an image with this Python and aiohttp."""
    return docker_of_the_run.make_python_image()


@pytest.fixture(scope="session")
def chromium(run_folder: RunFolder) -> Chromium:
    """Starts browsers."""
    return need_chromium(run_folder)


@pytest.fixture
def make_relay() -> Iterator[Callable[[int], FaultRelay]]:
    """Makes relays in front of a port, ended with the test."""
    relays: list[FaultRelay] = []

    def make(target_port: int) -> FaultRelay:
        relays.append(FaultRelay(target_port))
        return relays[-1]

    yield make
    for relay in relays:
        relay.close()
