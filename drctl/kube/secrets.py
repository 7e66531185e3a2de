"""Can every apiserver read what only the right encryption key opens?"""

from __future__ import annotations

from drctl.answer import Answer
from drctl.etcd.judges.common import read, reports
from drctl.verdict import Gathered, Problem, Verdict

NOT_ASKED = "not asked"


def reads_secrets(gathered: Gathered) -> Verdict:
    """Proves that every host's apiserver listed its Secrets (the first 500), each of which it had
    to decrypt.

    A host reports `secrets_status` (of HTTP) and `secrets_read` (how many); never a Secret. Where
    the inventory gives no administrator's certificate nothing was asked, and that is said.
    """
    found, problems = reports(gathered, "unproven")
    asked = {h: r for h, r in found.items() if r.get("secrets_status") != NOT_ASKED}
    counts, strange = read(asked, _read, "unproven")
    problems += strange
    for host, count in counts.items():
        if count is None:
            status, said = (asked[host].text(f"secrets_{name}") for name in ("status", "said"))
            problems.append(
                Problem(
                    f"its apiserver does not read Secrets: status {status or 'none'}: "
                    f"{said or 'no answer'}",
                    host,
                    _what_to_do(status),
                    "unproven",
                )
            )
    if not asked and not problems:
        why = "the inventory has no administrator's certificate (kubernetes.cert)"
        return Verdict(findings=(f"no Secret was read: {why}",))
    return Verdict(problems=tuple(problems), findings=_findings(gathered, counts, problems))


def _read(_: str, report: Answer) -> int | None:
    """How many were read; None where the apiserver did not list them."""
    return report.number_or_none("secrets_read") if report.get("secrets_status") == "200" else None


def _what_to_do(status: str) -> str:
    """Only an apiserver that cannot decrypt answers 500; others never came so far."""
    if status == "500":
        return (
            "compare --encryption-provider-config with the one in use when the snapshot was taken"
        )
    if status in ("401", "403"):
        return "make sure kubernetes.cert in the inventory may list Secrets"
    return "check that its apiserver answers curl on that host"


def _findings(
    gathered: Gathered, counts: dict[str, int | None], problems: list[Problem]
) -> tuple[str, ...]:
    if problems:
        return ()
    least = min(count for count in counts.values() if count is not None)
    encryption = str(gathered.values.get("encryption", ""))
    how = {"": "", "none": ", not encrypted"}.get(encryption, f", encrypted ({encryption[:12]})")
    return (f"{least} Secrets read through each of {len(counts)} apiservers{how}",)
