"""kube.serves: every service of every host says ok, or it is unproven. kube.kubelets_end_pods:
what may become of static pods where no apiserver answers. kube.one_manifest_each."""

from __future__ import annotations

import pytest

from drctl.kube import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import HOSTS, gathered


def serves(answers: dict[str, str], **silent: str) -> Verdict:
    return JUDGES["kube.serves"](Gathered(answers, silent))


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


def end_pods(*answers: str) -> tuple[str, ...]:
    told = {f"m{n}": answer for n, answer in enumerate(answers, 1)}
    verdict = JUDGES["kube.kubelets_end_pods"](Gathered(told, {"m9": "cut"}))
    assert not verdict.problems
    return verdict.warnings


def test_kubelets_that_may_have_reached_no_apiserver_are_named() -> None:
    (warning,) = end_pods(
        "kubelet_age=95\napiserver=silent", "kubelet_age=7300\napiserver=silent", "kubelet_age="
    )
    assert "no apiserver answers" in warning
    assert (
        "(m1: up for 95 s, m2: up for 2 h)" in warning
        and "drctl restarts such a kubelet" in warning
    )


@pytest.mark.parametrize(
    "answers",
    [
        ("kubelet_age=95\napiserver=silent", "kubelet_age=95\napiserver=answers"),
        ("kubelet_age=\n", "kubelet_age=\n"),
        ("kubelet_age=95\n",),
    ],
)
def test_nothing_is_said_of_what_is_not_known(answers: tuple[str, ...]) -> None:
    assert end_pods(*answers) == ()


@pytest.mark.parametrize(
    "lie", ["kubelet_age=$(id)", "kubelet_age=-5", "kubelet_age=9999999999", "apiserver=no\tone"]
)
def test_a_host_that_says_something_else_is_named_and_bars_no_other(lie: str) -> None:
    answers = {"m1": "kubelet_age=95\napiserver=silent", "m2": lie}
    verdict = JUDGES["kube.kubelets_end_pods"](Gathered(answers))
    (problem,) = verdict.problems
    assert problem.host == "m2"
    (warning,) = verdict.warnings
    assert "(m1: up for 95 s)" in warning


def test_two_manifests_of_one_pod_are_refused() -> None:
    judge = JUDGES["kube.one_manifest_each"]
    good = {host: {"manifests_twice": ""} for host in HOSTS}
    assert not judge(gathered(good)).problems
    twice = "etcd: /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests/etcd.yaml.bak; "
    (problem,) = judge(gathered({**good, HOSTS[1]: {"manifests_twice": twice}})).problems
    assert problem.host == HOSTS[1] and problem.kind == "refused"
    assert "etcd.yaml.bak" in problem.message and problem.hint and "move" in problem.hint
