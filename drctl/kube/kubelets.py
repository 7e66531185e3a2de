"""Can the kubelets end what they run, and is there one of each?"""

from __future__ import annotations

from drctl.answer import Answer
from drctl.etcd.judges.common import read, readable
from drctl.verdict import Gathered, Problem, Verdict

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


def one_manifest_each(gathered: Gathered) -> Verdict:
    """Proves that no static pod has two manifests: a kubelet runs every file in its folder, a
    copy named etcd.yaml.bak too, and of two for one pod nobody knows which it takes."""
    found, problems = readable(gathered, "missing")
    for host, report in found.items():
        if twice := report.text("manifests_twice", most=600):
            problems.append(
                Problem(
                    f"several manifests of one pod, and the kubelet runs every file there: {twice}",
                    host,
                    "move all but the right one out of that folder, and not into one below it",
                )
            )
    return Verdict(problems=tuple(problems))


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
