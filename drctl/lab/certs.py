"""Certificates and keys of a lab, in the documented layout: ca.pem, kubernetes.pem and its key."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=365)

IssuerKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Certificates:
    """PEM bytes: the CA, and one certificate (server and client) that names every host."""

    ca: bytes
    cert: bytes
    key: bytes


@dataclass(frozen=True)
class Pair:
    """PEM bytes of one certificate and its private key."""

    cert: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """A certificate authority that can go on issuing: keep its key as private as any."""

    cert: x509.Certificate
    key: IssuerKey

    @classmethod
    def new(cls) -> Authority:
        """A fresh one, valid for a year."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("drctl lab CA")
        cert = (
            _builder(name, name, key.public_key(), _VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(cert, key)

    @classmethod
    def load(cls, pair: Pair) -> Authority:
        """The authority whose certificate and key these are."""
        key = load_pem_private_key(pair.key, password=None)
        assert isinstance(key, IssuerKey)  # `new` makes elliptic ones, kubeadm others
        return cls(x509.load_pem_x509_certificate(pair.cert), key)

    @property
    def pair(self) -> Pair:
        return Pair(self.cert.public_bytes(Encoding.PEM), private_pem(self.key))

    def issue(
        self,
        common_name: str | None,
        *,
        organization: str | None = None,
        addresses: Sequence[str] = (),
        names: Sequence[str] = (),
        valid: timedelta = _VALID,
    ) -> Pair:
        """A certificate for server and client: the name, the addresses and DNS names given,
        127.0.0.1 and localhost. A negative `valid` makes one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        subject = _name(common_name, organization)
        cert = (
            _builder(subject, self.cert.subject, key.public_key(), valid)
            .add_extension(_alternatives(addresses, names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return Pair(cert.public_bytes(Encoding.PEM), private_pem(key))


def issue(addresses: Sequence[str]) -> Certificates:
    """A fresh CA and one certificate for `addresses`, 127.0.0.1 and localhost. The CA's key is
    forgotten."""
    authority = Authority.new()
    pair = authority.issue("kubernetes", addresses=addresses)
    return Certificates(authority.pair.cert, pair.cert, pair.key)


def new_key() -> tuple[bytes, bytes]:
    """A key pair to sign with, private and public, as PEM (the apiservers' for tokens)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private_pem(key), public


def private_pem(key: IssuerKey) -> bytes:
    """The private key as unencrypted PKCS8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def common_name(certificate: Path) -> str:
    """The name in a certificate's subject, which etcd takes for the user's; "" for none."""
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def new_ssh_key(path: Path) -> str:
    """Write an ed25519 private key (0600) to `path`, and return its public line."""
    key = ed25519.Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def write_private(path: Path, content: bytes) -> None:
    """Write `content` to a new file that was never readable by others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _name(common_name: str | None, organization: str | None = None) -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])


def _alternatives(addresses: Sequence[str], names: Sequence[str]) -> x509.SubjectAlternativeName:
    known = [ipaddress.ip_address(text) for text in ("127.0.0.1", *addresses)]
    return x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in ("localhost", *names)),
            *(x509.IPAddress(address) for address in known),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begin = min(now, now + valid) - timedelta(hours=1)  # clocks in virtual machines may lag
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + valid)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
