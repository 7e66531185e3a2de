"""kube.serves: every service of every host says ok, or it is unproven."""

from __future__ import annotations

from drctl.kube import JUDGES
from drctl.verdict import Evidence, Verdict


def serves(answers: dict[str, str], **silent: str) -> Verdict:
    return JUDGES["kube.serves"](Evidence(answers, silent))


def test_ready_services_are_findings() -> None:
    verdict = serves({"m1": "ready.apiserver=ok\nready.scheduler=ok\n", "m2": "ready.apiserver=ok"})
    assert not verdict.problems
    assert verdict.findings[0] == "m1: apiserver is ready"
    assert len(verdict.findings) == 3


def test_everything_else_is_unproven() -> None:
    for answer in ("ready.apiserver=503", "ready.apiserver=", "", "ready.a=ok\nready.a=ok"):
        (problem,) = serves({"m1": "ready.apiserver=ok", "m2": answer}).problems
        assert (problem.host, problem.kind) == ("m2", "unproven")


def test_silence_is_unproven() -> None:
    assert [p.host for p in serves({"m1": "ready.a=ok"}, m2="cut").problems] == ["m2"]
    assert serves({}).problems
