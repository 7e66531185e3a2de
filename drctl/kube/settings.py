"""Do the apiservers belong to the etcd that is restored, and to each other?

kube-apiserver's flags as its documentation has them. Of files that hold secrets a host reports
digests, and only those are compared.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from drctl.answer import Answer, AnswerError, shown
from drctl.etcd.judges.common import Reports, expected_members, read, reports, spelled
from drctl.verdict import Gathered, Problem, Verdict

DEFAULT_PREFIX = "/registry"
_WORDS = (
    "member_ca",
    "etcd_ca",
    "etcd_prefix",
    "encryption",
    "account_keys",
    "account_signing",
    "controller_signing",
)


def settings_fit(gathered: Gathered) -> Verdict:
    """Proves that every apiserver found uses members of this etcd, under one prefix, with a CA of
    theirs, and that encryption and service-account keys are the same on all control planes.

    Yields `encryption`: the configuration's digest, "none", or "" where no apiserver was found.
    """
    found, problems = reports(gathered)
    settings, strange = read(found, _checked)
    problems += strange
    found = {host: report for host, report in found.items() if host in settings}
    apiservers = {host: report for host, report in found.items() if report.get("etcd_servers")}
    problems += [p for host, report in apiservers.items() for p in _servers(gathered, host, report)]
    problems += _authorities(found, apiservers)
    problems += _differing(apiservers)
    warnings = [*_unseen(gathered, found, apiservers), *_accounts(found, apiservers)]
    warnings += [*_others(gathered, apiservers), *_gone(gathered, apiservers)]
    agreed = {settings[host] for host in apiservers}
    return Verdict(
        values={"encryption": agreed.pop() if len(agreed) == 1 else ""},
        problems=tuple(problems),
        warnings=tuple(warnings),
        findings=_findings(apiservers),
    )


def _checked(host: str, report: Answer) -> str:
    """The digest of the encryption's configuration, or a word for why there is none. Raises
    AnswerError where anything that is read below is not what it must be."""
    for name in _WORDS:
        report.words(name)
    for url in _urls(report):
        try:
            _ = urlsplit(url).port
        except ValueError:
            what = f"etcd_servers: {shown(url)!r} is not a URL"
            raise AnswerError(what, host=host) from None
    if report.get("encryption") in ("none", "unreadable"):
        return report["encryption"]
    return report.hexadecimal("encryption", 64)


# -- which etcd -----------------------------------------------------------------------------------


def _urls(report: Answer) -> list[str]:
    given = "".join(report.words("etcd_servers")).split(",")
    return [url.rstrip("/").lower() for url in given if url]


def _member_urls(gathered: Gathered) -> dict[str, set[str]]:
    members = expected_members(gathered)
    return {
        host: {str(url).rstrip("/").lower() for url in member["client_urls"]}
        for host, member in members.items()
    }


def _given_up(gathered: Gathered) -> dict[str, str]:
    """{client URL: host} of the members that the restore abandons."""
    return {
        str(url).rstrip("/").lower(): host
        for host, member in gathered.facts.get("abandoned", {}).items()
        for url in member.get("client_urls", ())
    }


def _gone(gathered: Gathered, apiservers: Reports) -> Iterator[str]:
    """An apiserver goes round an etcd that does not answer; but one that is powered on with its old
    data answers what needs no quorum."""
    for host, report in apiservers.items():
        for url, gone in _given_up(gathered).items():
            if url in _urls(report):
                yield (
                    f"{host}: remove {url} from its apiserver's --etcd-servers: {gone} is abandoned"
                )


def _is_known(gathered: Gathered, host: str, url: str) -> bool:
    """A member's URL, an abandoned one's, or this host's own member by a loopback address."""
    if url in _given_up(gathered):
        return True
    members = _member_urls(gathered)
    if any(url in urls for urls in members.values()):
        return True
    parts = urlsplit(url)
    own = {urlsplit(known).port for known in members.get(host, ())}
    return _is_loopback(parts.hostname or "") and parts.port in own


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _strangers(gathered: Gathered, host: str, report: Answer) -> list[str]:
    return [url for url in _urls(report) if not _is_known(gathered, host, url)]


def _servers(gathered: Gathered, host: str, report: Answer) -> Iterator[Problem]:
    strangers = [
        url
        for url in _strangers(gathered, host, report)
        if _is_address(urlsplit(url).hostname or "") or urlsplit(url).hostname == "localhost"
    ]
    if strangers:
        yield Problem(
            f"its apiserver uses an etcd that is not a member here: {', '.join(strangers)}",
            host,
            "fix --etcd-servers there, or the members in the inventory",
        )


def _authorities(found: Reports, apiservers: Reports) -> Iterator[Problem]:
    known = {digest for report in found.values() for digest in report.words("member_ca")}
    for host, report in apiservers.items():
        trusted = set(report.words("etcd_ca"))
        secure = any(url.startswith("https:") for url in _urls(report))
        if secure and "unreadable" in trusted:
            yield Problem(
                "its apiserver's --etcd-cafile cannot be read",
                host,
                "put the file there, or fix --etcd-cafile",
            )
        elif known and secure and not trusted & known:
            yield Problem(
                "its apiserver trusts a different CA than the one that signed this etcd's "
                "certificates",
                host,
                "fix --etcd-cafile there, or etcd.tls.ca in the inventory",
            )


# -- the same on all control planes ---------------------------------------------------------------

_SAME = (
    ("etcd_prefix", "--etcd-prefix", "they would not see each other's objects"),
    (
        "encryption",
        "the file in --encryption-provider-config",
        "one cannot read the other's Secrets",
    ),
    ("account_keys", "the keys in --service-account-key-file", "one refuses the other's tokens"),
)


def _value(report: Answer, name: str) -> str:
    text = " ".join(report.words(name))
    return text or (DEFAULT_PREFIX if name == "etcd_prefix" else "none")


def _differing(apiservers: Reports) -> Iterator[Problem]:
    for name, what, why in _SAME:
        values = {host: _value(report, name) for host, report in apiservers.items()}
        if unreadable := [host for host, value in values.items() if "unreadable" in value]:
            yield Problem(
                f"{what} cannot be read on {', '.join(unreadable)}", None, "put the file there"
            )
        elif len(set(values.values())) > 1:
            yield Problem(
                f"the apiservers differ in {what}, so {why} ({spelled(_short(values))})",
                None,
                "copy the right one to every control plane",
            )


def _short(values: Mapping[str, str]) -> dict[str, str]:
    """Digests as people compare them: by their first characters."""
    return {
        host: " ".join(word[:12] if len(word) == 64 else shown(word) for word in value.split())
        for host, value in values.items()
    }


# -- worth saying ---------------------------------------------------------------------------------


def _unseen(gathered: Gathered, found: Reports, apiservers: Reports) -> Iterator[str]:
    services: Mapping[str, Any] = gathered.facts.get("services", {})
    hosts = services.get("apiserver", {}).get("hosts", ())
    missing = [host for host in hosts if host in found and host not in apiservers]
    if missing and apiservers:
        yield f"no kube-apiserver flags found on {', '.join(missing)}: not compared"


def _accounts(found: Reports, apiservers: Reports) -> Iterator[str]:
    for name, who in (("account_signing", "apiservers"), ("controller_signing", "controllers")):
        values = {
            host: _value(report, name)
            for host, report in found.items()
            if host in apiservers and report.get(name, "").strip()
        }
        if len(set(values.values())) > 1:
            yield f"the {who} sign service-account tokens with different keys: " + spelled(
                _short(values)
            )


def _others(gathered: Gathered, apiservers: Reports) -> Iterator[str]:
    for host, report in sorted(apiservers.items()):
        named = [
            url
            for url in _strangers(gathered, host, report)
            if not _is_address(urlsplit(url).hostname or "")
            and urlsplit(url).hostname != "localhost"
        ]
        if named:
            yield f"{host}: is {', '.join(named)} a member of this etcd? Its apiserver uses it"
        if overrides := report.text("etcd_overrides"):
            yield f"{host}: its apiserver keeps some objects in another etcd: {overrides}"


def _findings(apiservers: Reports) -> tuple[str, ...]:
    if not apiservers:
        return ("no kube-apiserver found: no settings compared",)
    prefixes = {_value(report, "etcd_prefix") for report in apiservers.values()}
    encrypted = any(_value(r, "encryption") != "none" for r in apiservers.values())
    how = "Secrets are encrypted" if encrypted else "Secrets are not encrypted"
    return (f"{len(apiservers)} apiservers, prefix {', '.join(sorted(prefixes))}, {how}",)
