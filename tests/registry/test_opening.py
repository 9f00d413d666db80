"""From settings to a store: what cannot be used is refused with one clear message, never a traceback."""

from pathlib import Path

import pytest

from gogeta.domain.errors import InvalidInputError
from gogeta.kit.setting_values import parse_registry
from gogeta.registry import embedded_file
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.embedded_file import EmbeddedFile
from gogeta.registry.etcd import EtcdStore
from gogeta.registry.opening import open_store, open_to_read
from gogeta.registry.store import Put, RegistryError, RegistryRefusedError
from gogeta.settings import RegistrySettings
from tests.rig.certificates import CertificateAuthority


def settings(url: str, **given: str) -> RegistrySettings:
    return RegistrySettings(registry=parse_registry(url), **given)  # type: ignore[arg-type]


async def test_the_scheme_chooses_the_store(tmp_path: Path) -> None:
    store = open_store(settings(f"embedded:{tmp_path}/a.db"))
    assert isinstance(store, EmbeddedStore)
    assert store.endpoints == ()
    await store.close()
    other = open_store(settings("etcd://one:1,two:2"))
    assert isinstance(other, EtcdStore)
    assert other.endpoints == (("one", 1), ("two", 2))
    await other.close()


async def test_certificates_and_passwords_are_read(tmp_path: Path, certificates: CertificateAuthority) -> None:
    pair = certificates.issue("client")
    (tmp_path / "password").write_text("from the file\n")
    store = open_store(
        settings(
            "etcds://gogeta@one",
            registry_ca=str(certificates.ca_file),
            registry_cert=str(pair.cert_file),
            registry_key=str(pair.key_file),
            registry_password_file=str(tmp_path / "password"),
        )
    )
    assert "from the file" not in repr(store)
    await store.close()


async def test_opened_to_read_nothing_is_made_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(RegistryRefusedError, match="there is no registry file"):
        open_to_read(settings(f"embedded:{path}"))
    assert list(tmp_path.iterdir()) == []
    writer = open_store(settings(f"embedded:{path}"))
    await writer.commit([Put("/k", b"1")])
    reader = open_to_read(settings(f"embedded:{path}"))
    found = await reader.get("/k")
    assert found is not None
    with pytest.raises(RegistryRefusedError, match="only looks"):
        await reader.commit([Put("/k", b"2")])
    changes = reader.watch("/", found.revision)
    await writer.commit([Put("/k", b"3")])
    while not (told := await anext(changes)).changes:
        pass
    assert told.changes[0].entry is not None
    assert told.changes[0].entry.value == b"3"
    await changes.aclose()
    await reader.close()
    await writer.close()
    # Below the wrapper SQLite itself refuses, and ended leases are left to others.
    file = EmbeddedFile(str(path), read_only=True)
    with pytest.raises(RegistryError):
        file.commit([Put("/k", b"4")], [])
    with pytest.raises(RegistryError):
        file.grant(5)
    assert file.position().revision == told.revision
    file.close()


async def test_leases_that_ended_are_left_to_others_by_who_only_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "a.db")
    file = EmbeddedFile(path)
    file.commit([Put("/k", b"1", file.grant(1))], [])
    before = file.position()
    seconds = embedded_file.machine_seconds()
    monkeypatch.setattr(embedded_file, "machine_seconds", lambda: seconds + 60)
    looks = EmbeddedFile(path, read_only=True)
    assert looks.get("/k") is not None
    looks.end_lapsed()
    assert looks.position() == before
    looks.close()
    assert file.get("/k") is None
    file.close()


@pytest.mark.parametrize(
    ("url", "given", "message"),
    [
        ("embedded:{folder}/none/a.db", {}, "registry: the folder .*/none does not exist"),
        ("embedded:{folder}", {}, "is a folder"),
        ("etcds://one", {"registry_ca": "{folder}/none.pem"}, "registry_ca: .*none.pem cannot be read"),
        ("etcds://one", {"registry_ca": "{folder}/text"}, "registry_ca: .* no certificate in PEM form"),
        ("etcds://one", {"registry_cert": "{folder}/text"}, "registry_key: is missing"),
        ("etcds://one", {"registry_key": "{folder}/text"}, "registry_cert: is missing"),
        (
            "etcds://one",
            {"registry_cert": "{folder}/text", "registry_key": "{folder}/text"},
            "no certificate and its key",
        ),
        ("etcd://one", {"registry_ca": "{folder}/text"}, "registry_ca: is given, but the registry URL is without TLS"),
        ("etcd://u@one", {"registry_password_file": "{folder}/none"}, "registry_password_file: .* cannot be read"),
        ("etcd://u@one", {"registry_password_file": "{folder}/bytes"}, "is no text"),
        ("etcd://one", {"registry_password_file": "{folder}/text"}, "names no user"),
        ("etcd://u:p@one", {"registry_password_file": "{folder}/text"}, "has a password as well"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, url: str, given: dict[str, str], message: str) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    filled = {name: value.format(folder=tmp_path) for name, value in given.items()}
    with pytest.raises(InvalidInputError, match=message):
        open_store(settings(url.format(folder=tmp_path), **filled))
