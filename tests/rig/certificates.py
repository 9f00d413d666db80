"""A throw-away certificate authority for the TLS tests."""

import dataclasses
from pathlib import Path

import trustme


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, as files."""

    cert_file: Path
    key_file: Path


class CertificateAuthority:
    """Issues certificates that are good for servers and for clients.

    Both uses in one certificate matter for etcd: its JSON gateway dials its own server with the server's certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self._issued = 0
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str) -> KeyPair:
        """A new key and a certificate for these host names and addresses; the first is also the common name."""
        self._issued += 1
        leaf = self._authority.issue_cert(*names, common_name=names[0])
        cert_file = self._folder / f"{self._issued}.pem"
        key_file = self._folder / f"{self._issued}.key"
        for index, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(cert_file, append=index > 0)
        leaf.private_key_pem.write_to_path(key_file)
        return KeyPair(cert_file, key_file)
