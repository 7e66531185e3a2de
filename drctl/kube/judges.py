"""Does Kubernetes serve again?"""

from __future__ import annotations

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
