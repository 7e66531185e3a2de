"""can_reach: names, doors and certificates as each host sees them; a row per kind of mistake."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drctl.etcd import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import HOSTS, gathered
from tests.support.handed import NOW, Signed, sign

NAMES = [f"{host}.example.org" for host in HOSTS]
CA = sign("ca", ca=True)
GOOD = sign("etcd", by=CA, hosts=NAMES)
REACH: dict[str, Any] = {
    "names": {f"{h}.example.org": {"peer": [h], "client": [h]} for h in HOSTS},
    "peers": {
        f"{h}.0": {
            "host": h,
            "called": f"{h}.example.org",
            "at": f"{h}.example.org:2380",
            "tls": True,
        }
        for h in HOSTS
    },
    "clients": {h: [f"{h}.example.org"] for h in HOSTS},
}


def der(*certs: Signed) -> str:
    return " ".join(
        base64.b64encode(c.certificate.public_bytes(Encoding.DER)).decode() for c in certs
    )


def public(cert: Signed) -> str:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(cert.private.public_key().public_bytes(*form)).decode()


def paper(use: str, cert: Signed, ca: Signed = CA, key: str | None = None) -> dict[str, str]:
    own = public(cert) if key is None else key
    return {f"cert.{use}": der(cert), f"ca.{use}": der(ca), f"key.{use}": own}


SEEN = {
    "now": str(int(NOW.timestamp())),
    **{f"name.{name}": "10.0.0.1 " for name in NAMES},
    **{f"peer.{h}.0": "open" for h in HOSTS},
    **{f"shown.{h}.0": der(GOOD) for h in HOSTS},
    **paper("client", GOOD),
}


def judged(changed: dict[str, str], everywhere: dict[str, str] | None = None) -> Verdict:
    told = {h: {**SEEN, **(everywhere or {}), **(changed if h == "etcd-2" else {})} for h in HOSTS}
    given: Gathered = gathered(told)
    return JUDGES["etcd.can_reach"](replace(given, facts={**given.facts, "reach": REACH}))


def test_good_ones_pass_and_are_counted() -> None:
    verdict = judged({**paper("server", GOOD), **paper("peer", GOOD)})
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert verdict.findings == ("9 of 9 ways between peers, 5 certificates",)


SOON_OVER = sign("etcd", by=CA, hosts=NAMES, ends=NOW - timedelta(seconds=1))
OTHERS = sign("etcd", by=CA, hosts=["10.0.0.2"])
STRANGE = sign("etcd", by=sign("other", ca=True), hosts=NAMES)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({f"name.{NAMES[0]}": ""}, f"cannot resolve {NAMES[0]}, which is in the peer URL of"),
        ({f"name.{NAMES[1]}": "silent"}, f"cannot resolve {NAMES[1]}"),
        ({"peer.etcd-1.0": "silent", "shown.etcd-1.0": ""}, "gets no answer from etcd-1's peer"),
        ({"shown.etcd-2.0": der(SOON_OVER)}, "etcd-2.example.org:2380 expired at"),
        ({"shown.etcd-2.0": der(OTHERS)}, "does not name etcd-2.example.org, only 10.0.0.2"),
        (paper("client", GOOD, key=public(OTHERS)), "is not the key of the certificate"),
        (paper("client", GOOD, key=""), "is none, or has a passphrase"),
        (paper("client", GOOD, key="missing"), "is missing or unreadable"),
        (paper("client", GOOD, key="AAAA"), "cannot be read"),
        ({**paper("client", GOOD), "cert.client": ""}, "none that can be read"),
        ({**paper("client", GOOD), "cert.client": "AAAA"}, "none that can be read"),
        (paper("peer", OTHERS), "etcd peer certificate does not name etcd-2.example.org"),
        (paper("server", OTHERS), "etcd server certificate does not name etcd-2.example.org"),
        (paper("peer", STRANGE), "etcd peer certificate is not signed by the CA"),
        ({"peer.etcd-1.0": "ajar"}, "invalid answer"),
        ({"cert.client": "%%"}, "invalid answer"),
    ],
)
def test_refusals_name_the_host(changed: dict[str, str], words: str) -> None:
    (problem,) = judged(changed).problems
    assert words in problem.message and problem.host == "etcd-2"


def test_what_cannot_be_tried_is_no_problem() -> None:
    verdict = judged(
        {f"name.{NAMES[0]}": "untried", "peer.etcd-1.0": "untried", "key.client": "untried"}
    )
    assert not verdict.problems
    assert "not all ports tried" in verdict.findings[0]


def test_a_dead_member_is_no_problem() -> None:
    for door in ("refused", "silent"):
        dead = {"peer.etcd-3.0": door, "shown.etcd-3.0": ""}
        verdict = judged({}, dead)
        assert not verdict.problems
        assert verdict.findings == (
            "6 of 9 ways between peers, 3 certificates; not tried: nothing listens at etcd-3",
        )


def test_a_member_that_starts_and_dies_is_no_problem() -> None:
    assert not judged({"peer.etcd-3.0": "refused", "shown.etcd-3.0": ""}).problems


def test_a_client_of_another_ca_may_be_right() -> None:
    verdict = judged(paper("client", STRANGE))
    assert not verdict.problems
    assert "etcd-2: its etcd client certificate is not signed by the CA" in verdict.warnings[0]


def test_a_client_url_s_name_matters_where_drctl_asks_it() -> None:
    only = {"names": {"c.example.org": {"peer": [], "client": ["etcd-2"]}}}
    told = {h: {**SEEN, "name.c.example.org": ""} for h in HOSTS}
    given = gathered(told)
    facts = {**given.facts, "reach": {**REACH, **only}}
    (problem,) = JUDGES["etcd.can_reach"](replace(given, facts=facts)).problems
    assert problem.host == "etcd-2" and "in the client URL of etcd-2" in problem.message


OTHER_CA = sign("other ca", ca=True)
STRANGE = sign("etcd", by=OTHER_CA, hosts=NAMES)


@pytest.mark.parametrize(
    "shown,accused",
    [
        ({HOSTS[1]}, True),
        (set(), False),
        (set(HOSTS), False),  # a CA of its own for all peers, which is not among the clients'
    ],
)
def test_a_member_whose_certificate_another_ca_signed(shown: set[str], accused: bool) -> None:
    said = SEEN | {f"shown.{h}.0": der(STRANGE) for h in shown}
    answers = dict.fromkeys(HOSTS, said)
    verdict = JUDGES["etcd.can_reach"](replace(gathered(answers), facts={"reach": REACH}))
    words = "is not signed by the CA of the other members'"
    assert [p.host for p in verdict.problems if words in p.message] == [HOSTS[1]] * accused


def test_one_host_alone_accuses_nobody_of_another_ca() -> None:
    answers = {h: dict(SEEN) for h in HOSTS}
    answers[HOSTS[0]][f"shown.{HOSTS[1]}.0"] = der(STRANGE)
    verdict = JUDGES["etcd.can_reach"](replace(gathered(answers), facts={"reach": REACH}))
    assert not [p for p in verdict.problems if "signed by the CA" in p.message]
