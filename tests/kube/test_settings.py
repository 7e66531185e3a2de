"""kube.settings_fit and kube.reads_secrets, over what hosts report."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.kube import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import HOSTS, MEMBERS, gathered, lines

URLS = ",".join(member["client_urls"][0] for member in MEMBERS.values())
GOOD = {
    "member_ca": "aa bb",
    "etcd_servers": URLS,
    "etcd_prefix": "",
    "etcd_ca": "bb",
    "encryption": "e" * 64,
    "account_keys": "k1 k2",
    "account_signing": "s1",
    "controller_signing": "s1",
}


def judged(others: dict[str, str] | None = None, /, **changed: str) -> Verdict:
    """The first host's report changed; `others` for all hosts."""
    reports = {host: {**GOOD, **(others or {})} for host in HOSTS}
    reports[HOSTS[0]] |= changed
    given = gathered(reports)
    services: dict[str, Any] = {"apiserver": {"hosts": HOSTS}}
    return JUDGES["kube.settings_fit"](
        Gathered(given.answers, {}, {**given.facts, "services": services})
    )


def test_alike_and_of_this_etcd() -> None:
    verdict = judged()
    assert not verdict.problems and not verdict.warnings
    assert verdict.values == {"encryption": "e" * 64}
    assert verdict.findings == ("3 apiservers, prefix /registry, Secrets are encrypted",)


@pytest.mark.parametrize(
    "changed",
    [
        {"etcd_servers": "http://127.0.0.1:2379"},  # kubeadm: the member beside it
        {"etcd_servers": "http://localhost:2379"},
        {"etcd_servers": "http://[::1]:2379"},
        {"etcd_servers": "HTTP://127.0.71.2:2379/"},
        {"etcd_prefix": "/registry"},
        {"account_keys": " k1  k2 "},
    ],
)
def test_the_same_in_other_words(changed: dict[str, str]) -> None:
    verdict = judged(**changed)
    assert not verdict.problems and not verdict.warnings


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"etcd_servers": f"{URLS},http://10.9.9.9:2379"}, "not a member here: http://10"),
        ({"etcd_servers": "http://127.0.0.1:12379"}, "not a member here"),
        ({"etcd_servers": "http://localhost:12379"}, "not a member here"),
        ({"etcd_prefix": "/other"}, "differ in --etcd-prefix"),
        ({"encryption": "f" * 64}, "differ in the file in --encryption-provider-config"),
        ({"encryption": "none"}, "differ in the file in --encryption-provider-config"),
        ({"encryption": ""}, "differ in the file in --encryption-provider-config"),
        ({"encryption": "unreadable"}, "cannot be read on etcd-1"),
        ({"account_keys": "k1"}, "differ in the keys in --service-account-key-file"),
        ({"account_keys": "k1 unreadable"}, "cannot be read on etcd-1"),
    ],
)
def test_what_stops_a_restore(changed: dict[str, str], words: str) -> None:
    (problem,) = judged(**changed).problems
    assert words in problem.message and problem.kind == "refused" and problem.hint


def test_a_digest_is_told_by_its_beginning() -> None:
    (problem,) = judged(encryption="f" * 64).problems
    assert "etcd-1: ffffffffffff, etcd-2: eeeeeeeeeeee," in problem.message


def test_another_authority() -> None:
    others = {"etcd_servers": "https://127.0.0.1:2379"}
    assert not judged(others).problems
    (problem,) = judged(others, etcd_ca="cc").problems
    assert problem.host == "etcd-1" and "a different CA" in problem.message
    assert not judged(etcd_ca="cc").problems  # over http nobody asks


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"etcd_servers": "http://etcd.example:2379"}, "is http://etcd.example:2379 a member"),
        ({"etcd_overrides": "/events#http://10.9.9.9:2379"}, "in another etcd: /events#http"),
        ({"account_signing": "s2"}, "the apiservers sign service-account tokens with different"),
        ({"controller_signing": "s2"}, "the controllers sign service-account tokens"),
        ({"etcd_servers": ""}, "no kube-apiserver flags found on etcd-1"),
    ],
)
def test_what_is_worth_saying(changed: dict[str, str], words: str) -> None:
    verdict = judged(**changed)
    assert not verdict.problems
    (warning,) = verdict.warnings
    assert words in warning


def test_no_apiserver_is_said() -> None:
    verdict = judged({"etcd_servers": ""})
    assert not verdict.problems and not verdict.warnings
    assert verdict.values == {"encryption": ""}
    assert verdict.findings == ("no kube-apiserver found: no settings compared",)


def test_settings_of_a_silent_host_are_a_problem() -> None:
    (problem,) = JUDGES["kube.settings_fit"](Gathered({}, {"m1": "cut"})).problems
    assert problem.host == "m1"


# -- Secrets --------------------------------------------------------------------------------------


def read(reports: dict[str, dict[str, str]], **values: str) -> Verdict:
    answers = {host: lines(report) for host, report in reports.items()}
    return JUDGES["kube.reads_secrets"](Gathered(answers, {}, {}, values))


OK = {"secrets_status": "200", "secrets_read": "7"}


def test_every_apiserver_read_some() -> None:
    verdict = read({"a": OK, "b": {**OK, "secrets_read": "6"}}, encryption="e" * 64)
    assert not verdict.problems
    assert verdict.findings == (
        "6 Secrets read through each of 2 apiservers, encrypted (eeeeeeeeeeee)",
    )
    assert read({"a": OK}, encryption="none").findings[0].endswith("apiservers, not encrypted")


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"secrets_status": "200"},
        {"secrets_status": "200", "secrets_read": ""},
        {"secrets_status": "500", "secrets_said": "unable to transform key"},
        {"secrets_status": "403", "secrets_read": "0"},
        {"secrets_status": ""},
    ],
)
def test_no_answer_is_not_a_yes(report: dict[str, str]) -> None:
    (problem,) = read({"a": OK, "b": report}).problems
    assert (problem.host, problem.kind) == ("b", "unproven")
    assert report.get("secrets_said", "no answer") in problem.message


def test_what_was_not_asked_is_said() -> None:
    verdict = read({"a": {"secrets_status": "not asked"}})
    assert not verdict.problems and "no Secret was read" in verdict.findings[0]
    silent = JUDGES["kube.reads_secrets"](Gathered({}, {"a": "cut"}))
    assert [p.kind for p in silent.problems] == ["unproven"] and not silent.findings


def test_a_ca_that_cannot_be_read_is_not_called_another_one() -> None:
    secure = {"etcd_servers": URLS.replace("http:", "https:")}
    problems = judged(secure, etcd_ca="unreadable").problems
    assert "its apiserver's --etcd-cafile cannot be read" in {p.message for p in problems}
    assert not any("trusts a different CA" in p.message for p in problems)


def test_what_was_given_up_is_still_named_and_no_stranger() -> None:
    gone = {"etcd-9": {"client_urls": ["https://10.9.9.9:2379"]}}
    given = gathered({HOSTS[0]: {**GOOD, "etcd_servers": f"{URLS},https://10.9.9.9:2379"}})
    verdict = JUDGES["kube.settings_fit"](
        Gathered(given.answers, {}, {**given.facts, "services": {}, "abandoned": gone})
    )
    assert not verdict.problems
    assert any(
        "remove https://10.9.9.9:2379 from its apiserver's --etcd-servers" in w
        for w in verdict.warnings
    )
