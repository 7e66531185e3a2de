"""Does Kubernetes serve again?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from drctl.answer import Answer
from drctl.etcd.judges.common import read, readable, silences
from drctl.verdict import Gathered, Problem, Verdict

_PREFIX = "ready."


def serves(gathered: Gathered) -> Verdict:
    """Proves that every service's own readiness check says ok on every host that was asked.

    Each host answers with `asked=` and the names of its services that have a readiness check (none
    on a host that only holds etcd), and with a line for each: `ready.<service>=ok`, or what went
    wrong instead of ok. A silent host, or a service without a line, is unproven.
    """
    found, garbled = readable(gathered, "unproven")
    judged, strange = read(found, _host, "unproven")
    problems = silences(gathered, "unproven") + garbled + strange
    findings: list[str] = []
    for host_problems, host_findings in judged.values():
        problems += host_problems
        findings += host_findings
    if not gathered.answers and not gathered.silent:
        problems.append(Problem("no host was asked", kind="unproven"))
    return Verdict(problems=tuple(problems), findings=tuple(findings))


READY = "ready."
"""How the names of services begin whose `ready` command an operator may accept."""


def is_ready_now(gathered: Gathered) -> Verdict:
    """Tries what step 8 asks, where the old cluster serves (`quorum`; without it nobody is asked).

    A service that runs on hosts and is ready on less than most of them is refused: its `ready`
    command is wrong, or it is broken already; step 7 would wait for it in vain, and end there. Else
    those that are not ready are warnings.
    """
    verdict, never = _ready_now(gathered)
    refused = tuple(
        Problem(
            f"{said} [{READY}{service}]",
            host,
            f"type that command on the host and correct services.{service}.ready in the inventory; "
            f"where {service} is what is to be mended: --accept-drift {READY}{service}",
        )
        for service, host, said in never
    )
    return replace(verdict, problems=(*verdict.problems, *refused))


def tells_if_not_ready(gathered: Gathered) -> Verdict:
    """The same, and refuses nothing but what is no answer: a service that is broken may be what the
    restore is to mend."""
    verdict, never = _ready_now(gathered)
    warned = tuple(
        f"{host}: {said}: unless that is what you restore for, {service} will be waited for in vain"
        for service, host, said in never
    )
    return replace(verdict, warnings=(*verdict.warnings, *warned))


def _ready_now(gathered: Gathered) -> tuple[Verdict, list[tuple[str, str, str]]]:
    """What is judged alike, and (service, host, words) of what is ready on few hosts or none."""
    found, garbled = readable(gathered, "missing")
    services = gathered.facts["services"]
    judged, strange = read(found, partial(_unready, services), "missing")
    accepted = set(gathered.options.get("accept_drift", ()))
    warnings, never = [], []
    for service in sorted({name for told in judged.values() for name in told}):
        said = {host: told[service] for host, told in judged.items() if service in told}
        unready = {host: words for host, words in said.items() if words}
        if len(unready) * 2 >= len(said) and READY + service not in accepted:
            words = f"`ready` of {service} says no on most hosts where it runs: "
            never += [(service, host, words + each) for host, each in unready.items()]
        else:
            warnings += [f"{h}: {service} runs and is not ready: {w}" for h, w in unready.items()]
    warnings += [
        f"{host}: did not say whether its services are ready: {why}"
        for host, why in gathered.silent.items()
    ]
    return Verdict(problems=(*garbled, *strange), warnings=tuple(warnings)), never


def _unready(services: Mapping[str, Any], host: str, report: Answer) -> dict[str, str]:
    """What each service that runs here and is asked says; "" for ready. What else a host would
    like to tell of is not heard."""
    found = {}
    asked = {*report.words("asked", most=100)}
    for service in (name for name in services if name in asked and host in services[name]["hosts"]):
        if report.one_of("runs." + service, "yes", "no") == "yes":
            said = report.text(_PREFIX + service).removesuffix(" not ready")
            found[service] = "" if said == "ok" else said or "no answer"
    return found


def _host(host: str, report: Answer) -> tuple[list[Problem], list[str]]:
    if "asked" not in report:
        return [Problem("did not report which services it checked", host, None, "unproven")], []
    services = {name: report.text(_PREFIX + name) for name in report.words("asked", most=100)}
    problems = [
        Problem(
            f"{service} is not ready: {said or 'no answer'}",
            host,
            f"check the log of {service} on that host, then: drctl restore --resume",
            "unproven",
        )
        for service, said in services.items()
        if said != "ok"
    ]
    return problems, [f"{host}: {name} is ready" for name, said in services.items() if said == "ok"]
