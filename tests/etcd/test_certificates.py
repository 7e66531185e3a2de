"""Certificates that an operator hands over: what etcd and its peers would refuse is said before."""

from __future__ import annotations

import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.utils import CryptographyDeprecationWarning

from drctl.etcd.certificates import Material, chain_of, faults, warnings
from tests.support.handed import CLIENT, NOW, SERVER, Signed, new_key, sign

HOSTS = ("10.0.0.1", "fd00::1", "etcd-1.example.org")
CA = sign("ca", ca=True)
OTHER = sign("ca", ca=True)
GOOD = sign("etcd", by=CA, hosts=HOSTS)


def found(
    cert: Signed = GOOD, *, ca: bytes = CA.pem, key: bytes | None = None, hosts: object = HOSTS
) -> list[tuple[str, str]]:
    material = Material(ca, cert.pem, cert.key() if key is None else key)
    return list(faults(material, hosts, NOW))  # type: ignore[arg-type]  # any collection of texts


def test_a_good_one_has_no_fault() -> None:
    assert found() == []
    assert found(sign("x", by=CA, hosts=HOSTS, usages=None)) == []
    assert not warnings(Material(CA.pem, GOOD.pem, GOOD.key()), NOW)


def test_the_serial_number_0_of_older_kubeadms_is_nobodys_business(tmp_path: Path) -> None:
    """The library warns of it, and tests take warnings for errors."""
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-set_serial", "0"]
    where = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "pem")]
    subprocess.run(["openssl", "req", *made, *where], check=True, capture_output=True)
    pem = (tmp_path / "pem").read_bytes()
    (one,) = chain_of([ssl.PEM_cert_to_DER_cert(pem.decode())])
    with pytest.warns(CryptographyDeprecationWarning):
        assert one.serial_number == 0
    assert ("ca", "contains no PEM certificate") not in found(ca=pem)


def test_a_wildcard_covers_one_label() -> None:
    wild = sign("x", by=CA, hosts=["*.example.org"])
    assert found(wild, hosts=["A.example.org"]) == []
    (fault,) = found(wild, hosts=["a.b.example.org"])
    assert fault == ("cert", "does not name a.b.example.org, only *.example.org")


def test_an_intermediate_in_the_file_or_in_the_ca_s() -> None:
    middle = sign("middle", by=CA, ca=True)
    leaf = sign("leaf", by=middle, hosts=HOSTS)
    assert found(leaf) == [("cert", "is not signed by the CA")]
    assert found(leaf, ca=CA.pem + middle.pem) == []
    chained = Material(CA.pem, leaf.pem + middle.pem, leaf.key())
    assert faults(chained, HOSTS, NOW) == []
    assert faults(Material(OTHER.pem, leaf.pem + middle.pem, leaf.key()), HOSTS, NOW)


LONG_AGO = NOW - timedelta(days=9)


def test_an_issuer_that_ran_out_signs_nothing_beside_one_that_lasts() -> None:
    expired = ("cert", "is signed by an expired CA")
    old = sign("old", ca=True, begins=LONG_AGO, ends=NOW - timedelta(days=1))
    assert found(sign("x", by=old, hosts=HOSTS), ca=old.pem + CA.pem) == [expired]
    middle = sign("middle", by=CA, ca=True, begins=LONG_AGO, ends=NOW - timedelta(days=1))
    leaf = sign("leaf", by=middle, hosts=HOSTS)
    assert faults(Material(CA.pem, leaf.pem + middle.pem, leaf.key()), HOSTS, NOW) == [expired]


PAST, FUTURE = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cert": sign("x", by=OTHER, hosts=HOSTS)}, ("cert", "is not signed by the CA")),
        (
            {"cert": sign("x", by=CA, hosts=["10.0.0.9"])},
            ("cert", "does not name 10.0.0.1, fd00::1, etcd-1.example.org, only 10.0.0.9"),
        ),
        (
            {"cert": sign("x", by=CA), "hosts": ["10.0.0.1"]},
            ("cert", "does not name 10.0.0.1, only nobody"),
        ),
        (
            {"cert": sign("x", by=CA, hosts=HOSTS, ends=PAST)},
            ("cert", "expired at 2026-11-24 04:00 UTC"),
        ),
        (
            {"cert": sign("x", by=CA, hosts=HOSTS, begins=FUTURE)},
            ("cert", "is not valid before 2026-11-24 06:00 UTC"),
        ),
        (
            {"cert": sign("x", by=CA, hosts=HOSTS, usages=[SERVER])},
            (
                "cert",
                "is not valid as a client certificate "
                "(clientAuth is not among its extended key usages)",
            ),
        ),
        (
            {"cert": sign("x", by=CA, hosts=HOSTS, usages=[CLIENT])},
            (
                "cert",
                "is not valid as a server certificate "
                "(serverAuth is not among its extended key usages)",
            ),
        ),
        (
            {"key": Signed(GOOD.certificate, new_key()).key()},
            ("key", "is not the key of the certificate"),
        ),
        (
            {"key": GOOD.key(b"secret")},
            ("key", "has a passphrase, which etcd cannot enter"),
        ),
        ({"key": b"nonsense"}, ("key", "contains no PEM private key")),
        ({"ca": b""}, ("ca", "contains no PEM certificate")),
    ],
)
def test_faults(options: dict[str, object], expected: tuple[str, str]) -> None:
    assert found(**options) == [expected]  # type: ignore[arg-type]  # as `found` takes them


def test_a_ca_that_is_none_or_has_expired() -> None:
    plain = sign("ca")
    leaf = sign("x", by=plain, hosts=HOSTS)
    text = "is not a CA certificate (basic constraints)"
    assert found(leaf, ca=plain.pem) == [("ca", text)]
    late = sign("ca", ca=True, ends=PAST)
    leaf = sign("x", by=late, hosts=HOSTS)
    assert found(leaf, ca=late.pem) == [("ca", "expired at 2026-11-24 04:00 UTC")]
    assert found(ca=CA.pem + late.pem) == []  # a CA that was renewed, and the old one beside it


def test_what_expires_soon_is_said() -> None:
    soon = sign("x", by=CA, hosts=HOSTS, ends=NOW + timedelta(days=10))
    (warning,) = warnings(Material(CA.pem, soon.pem, soon.key()), NOW)
    assert warning == ("cert", "expires at 2026-12-04 05:00 UTC")
