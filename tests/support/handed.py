"""What an operator hands over for new hosts: certificates of every kind, and programs that are
none (the head of an ELF file is all that is looked at before they are sent)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    private: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key(self, passphrase: bytes | None = None) -> bytes:
        how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def sign(
    name: str,
    *,
    by: Signed | None = None,
    ca: bool | None = None,
    hosts: Sequence[str] = (),
    usages: Sequence[x509.ObjectIdentifier] | None = (CLIENT, SERVER),
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=365),
) -> Signed:
    """A certificate for `hosts`, signed `by` another or by itself; `ca` None: it says nothing."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if hosts:
        names = x509.SubjectAlternativeName([_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    if usages is not None and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Signed(builder.sign(by.private if by else key, hashes.SHA256()), key)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def program(machine: int = 62) -> bytes:
    """The first bytes of a program for Linux; 62 is x86_64, 183 aarch64."""
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + b"not a program"


def hand_over(folder: Path, hosts: Sequence[str], *, ends: datetime | None = None) -> None:
    """binaries/, ca.pem, etcd.pem and etcd-key.pem in `folder`."""
    (folder / "binaries").mkdir()
    for tool in ("etcd", "etcdctl", "etcdutl"):
        (folder / "binaries" / tool).write_bytes(program())
    now = datetime.now(UTC)
    valid = {"begins": now - timedelta(days=1), "ends": ends or now + timedelta(days=365)}
    ca = sign("ca", ca=True, begins=valid["begins"], ends=now + timedelta(days=900))
    cert = sign("etcd", by=ca, hosts=hosts, begins=valid["begins"], ends=valid["ends"])
    (folder / "ca.pem").write_bytes(ca.pem)
    (folder / "etcd.pem").write_bytes(cert.pem)
    (folder / "etcd-key.pem").write_bytes(cert.key())
