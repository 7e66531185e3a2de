"""kube.serves: every service of every host says ok, or it is unproven."""

from __future__ import annotations

import pytest

from drctl.kube import JUDGES
from drctl.verdict import Evidence, Verdict


def serves(answers: dict[str, str], **silent: str) -> Verdict:
    return JUDGES["kube.serves"](Evidence(answers, silent))


def test_ready_services_are_findings() -> None:
    verdict = serves(
        {
            "m1": "asked=apiserver scheduler\nready.apiserver=ok\nready.scheduler=ok\n",
            "m2": "asked=apiserver \nready.apiserver=ok",
        }
    )
    assert not verdict.problems
    assert verdict.findings[0] == "m1: apiserver is ready"
    assert len(verdict.findings) == 3


@pytest.mark.parametrize(
    "answer",
    [
        "asked=apiserver\nready.apiserver=503",
        "asked=apiserver\nready.apiserver=",
        "asked=apiserver\n",
        "asked=apiserver scheduler\nready.apiserver=ok",
        "ready.apiserver=ok",
        "",
        "asked=a\nready.a=ok\nready.a=ok",
    ],
)
def test_everything_else_is_unproven(answer: str) -> None:
    (problem,) = serves({"m1": "asked=apiserver\nready.apiserver=ok", "m2": answer}).problems
    assert (problem.host, problem.kind) == ("m2", "unproven")


def test_a_host_that_only_holds_etcd_has_nothing_to_say() -> None:
    verdict = serves({"m1": "asked=\n", "cp1": "asked=apiserver\nready.apiserver=ok"})
    assert not verdict.problems
    assert verdict.findings == ("cp1: apiserver is ready",)


def test_silence_is_unproven() -> None:
    assert [p.host for p in serves({"m1": "asked=a\nready.a=ok"}, m2="cut").problems] == ["m2"]
    assert serves({}).problems
