"""Certificates that an operator hands over or a node has, read before anything depends on them.

Pure: bytes in, faults in words out. What etcd would refuse at its start, or its peers at their
first connection, is said here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from warnings import catch_warnings, simplefilter

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

SOON = timedelta(days=30)
PemFile = Literal["ca", "cert", "key"]
PemComplaint = tuple[PemFile, str]
"""Which of the three files, and what is wrong with it."""


@dataclass(frozen=True)
class Material:
    """A CA (one certificate or several), a member's certificate (with its chain), and its key."""

    ca: bytes
    cert: bytes
    key: bytes


def faults(material: Material, hosts: Collection[str], now: datetime) -> list[PemComplaint]:
    """Everything that keeps this from serving, and from being a client and a peer, at `hosts`
    (addresses and DNS names). `now` has a time zone."""
    found: list[PemComplaint] = []
    cas = _load("ca", material.ca, found)
    chain = _load("cert", material.cert, found)
    if cas:
        found += (("ca", text) for text in _ca_faults(cas, now))
    if chain:
        found += (("cert", text) for text in _cert_faults(chain[0], hosts, now))
        found += (("key", text) for text in _key_faults(chain[0], material.key))
    if cas and chain:
        found += (("cert", text) for text in _signature_faults(chain, cas, now))
    return found


def chain_of(ders: Sequence[bytes]) -> list[x509.Certificate]:
    """The certificates that a node sent, in their order. Raises ValueError where one is none."""
    with _as_they_are():
        return [x509.load_der_x509_certificate(der) for der in ders]


@contextmanager
def _as_they_are() -> Iterator[None]:
    """kubeadm's older CAs have the serial number 0, which RFC 5280 does not allow and etcd takes:
    the library's warning of it is nothing that an operator can act on."""
    with catch_warnings():
        simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def public_fault(cert: x509.Certificate, public: bytes) -> str:
    """Why `public` (DER), a key's public half, is not that of `cert`; "" where it is."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if load_der_public_key(public).public_bytes(*form) != cert.public_key().public_bytes(*form):
        return "is not the key of the certificate"
    return ""


def uncovered(cert: x509.Certificate, hosts: Collection[str]) -> str:
    """Which of `hosts` (addresses and DNS names) a certificate does not name, and whom it does;
    "" where it names all."""
    addresses, names = _named(cert)
    missing = [host for host in hosts if not _covers(host, addresses, names)]
    if not missing:
        return ""
    said = ", ".join([*names, *map(str, addresses)]) or "nobody"
    return f"does not name {', '.join(missing)}, only {said}"


def outdated(cert: x509.Certificate, now: datetime) -> str:
    """Why a certificate does not hold at `now`; "" where it does."""
    if cert.not_valid_after_utc <= now:
        return f"expired at {_said(cert.not_valid_after_utc)}"
    if cert.not_valid_before_utc > now:
        return f"is not valid before {_said(cert.not_valid_before_utc)}"
    return ""


def unsigned(
    chain: Sequence[x509.Certificate], cas: Sequence[x509.Certificate], now: datetime
) -> str:
    """Why no way of signatures leads from the first of `chain` to one of `cas`; "" if one does."""
    return next(_signature_faults(chain, cas, now), "")


def warnings(material: Material, now: datetime) -> list[PemComplaint]:
    """What works today. Only for material without faults."""
    found: list[PemComplaint] = []
    pems: tuple[tuple[PemFile, bytes], ...] = (("ca", material.ca), ("cert", material.cert))
    for part, pem in pems:
        ends = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem))
        if ends - now < SOON:
            found.append((part, f"expires at {_said(ends)}"))
    return found


def _said(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _load(part: PemFile, pem: bytes, found: list[PemComplaint]) -> list[x509.Certificate]:
    try:
        with _as_they_are():
            return x509.load_pem_x509_certificates(pem)
    except ValueError:
        found.append((part, "contains no PEM certificate"))
        return []


def _ca_faults(cas: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    if not any(_is_ca(one) for one in cas):
        yield "is not a CA certificate (basic constraints)"
    if all(one.not_valid_after_utc <= now for one in cas):
        yield f"expired at {_said(max(one.not_valid_after_utc for one in cas))}"


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _cert_faults(cert: x509.Certificate, hosts: Collection[str], now: datetime) -> Iterator[str]:
    if text := outdated(cert, now):
        yield text
    if text := uncovered(cert, hosts):
        yield text
    for usage, word in _unusable(cert):
        yield f"is not valid as a {word} certificate ({usage} is not among its extended key usages)"


def _named(cert: x509.Certificate) -> tuple[list[object], list[str]]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return list(names.get_values_for_type(x509.IPAddress)), names.get_values_for_type(x509.DNSName)


def _covers(host: str, addresses: Collection[object], names: Collection[str]) -> bool:
    try:
        return ipaddress.ip_address(host) in addresses
    except ValueError:
        pass
    wild = "*." + host.partition(".")[2]
    return any(name.lower() in (host.lower(), wild.lower()) for name in names)


def _unusable(cert: x509.Certificate) -> Iterator[tuple[str, str]]:
    """etcd shows one certificate to clients and to peers, and connects to peers with it."""
    try:
        usages = set(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        yield "serverAuth", "server"
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        yield "clientAuth", "client"


def _key_faults(cert: x509.Certificate, pem: bytes) -> Iterator[str]:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        yield "has a passphrase, which etcd cannot enter"
        return
    except ValueError:
        yield "contains no PEM private key"
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != cert.public_key().public_bytes(*form):
        yield "is not the key of the certificate"


def _signature_faults(
    chain: Sequence[x509.Certificate], cas: Sequence[x509.Certificate], now: datetime
) -> Iterator[str]:
    """An issuer that has run out signs nothing, whatever else the files hold. (That all CAs have is
    said of the CA.)"""
    lasting = [ca for ca in cas if ca.not_valid_after_utc > now]
    above = [one for one in chain[1:] if one.not_valid_after_utc > now]
    if not _signed(chain, cas):
        yield "is not signed by the CA"
    elif lasting and not _signed([chain[0], *above], lasting):
        yield "is signed by an expired CA"


def _signed(chain: Sequence[x509.Certificate], cas: Sequence[x509.Certificate]) -> bool:
    """Whether a way of signatures leads from the first of `chain` to one of `cas`."""
    at, left = chain[0], list(chain[1:])
    while True:
        if any(_issued(at, ca) for ca in cas):
            return True
        above = next((one for one in left if _issued(at, one)), None)
        if above is None:
            return False
        left.remove(above)
        at = above


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
