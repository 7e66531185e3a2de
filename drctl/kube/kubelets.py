"""Can the kubelets end what they run?"""

from __future__ import annotations

from drctl.answer import Answer
from drctl.etcd.judges.common import read, readable
from drctl.verdict import Gathered, Verdict

_OLDEST = 10**9  # seconds


def kubelets_end_pods(gathered: Gathered) -> Verdict:
    """Warns where no apiserver answers and static pods are to be stopped: a kubelet that has
    reached no apiserver since its own start never ends a pod whose manifest is gone, and nothing
    tells from outside whether it has. Not a reason to stop: service/fenced does without it."""
    reports, problems = readable(gathered, "missing")
    told, strange = read(reports, _checked)
    problems += strange
    ages = {host: age for host, (age, _) in told.items() if age is not None}
    asked = {apiserver for _, apiserver in told.values() if apiserver}
    if not ages or asked != {"silent"}:
        return Verdict(problems=tuple(problems))
    kubelets = ", ".join(f"{host}: up for {_spelled(age)}" for host, age in sorted(ages.items()))
    warning = (
        "no apiserver answers, and a kubelet that has reached none since it started stops no "
        f"static pods ({kubelets}): drctl restarts such a kubelet and kills what is left of the "
        "stopped pods"
    )
    return Verdict(problems=tuple(problems), warnings=(warning,))


def _checked(_: str, report: Answer) -> tuple[int | None, str]:
    """How old the kubelet is, and what became of the question to the apiserver. Raises
    AnswerError."""
    return (
        report.number_or_none("kubelet_age", most=_OLDEST),
        report.one_of("apiserver", "", "answers", "silent"),
    )


def _spelled(seconds: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
