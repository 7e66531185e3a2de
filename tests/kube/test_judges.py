"""kube.serves: every service of every host says ok, or it is unproven. kube.kubelets_end_pods:
what may become of static pods where no apiserver answers. kube.one_manifest_each.
kube.is_ready_now: what step 8 will ask is tried while the old cluster serves."""

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


def ready_now(*answers: str, accept: tuple[str, ...] = (), **silent: str) -> Verdict:
    told = {f"m{n}": answer for n, answer in enumerate(answers, 1)}
    services = {"apiserver": {"hosts": [*told, *silent]}}
    facts = {"services": services}
    return JUDGES["kube.is_ready_now"](
        Gathered(told, silent, facts, options={"accept_drift": accept})
    )


def of_apiserver(said: str, runs: str = "yes") -> str:
    return f"asked=apiserver\nruns.apiserver={runs}\nready.apiserver={said}"


def test_what_no_host_says_yes_to_is_refused() -> None:
    verdict = ready_now(*2 * [of_apiserver("curl: not found not ready")])
    assert [p.host for p in verdict.problems] == ["m1", "m2"]
    assert "curl: not found" in verdict.problems[0].message
    assert "[ready.apiserver]" in verdict.problems[0].message
    assert "services.apiserver.ready" in str(verdict.problems[0].hint)


def test_or_accepted_by_name() -> None:
    verdict = ready_now(of_apiserver("no"), accept=("ready.apiserver",))
    assert not verdict.problems
    assert verdict.warnings == ("m1: apiserver runs and is not ready: no",)


def test_a_restore_is_told_and_not_refused() -> None:
    """It may be what the restore is to mend."""
    judge = JUDGES["kube.tells_if_not_ready"]
    facts = {"services": {"apiserver": {"hosts": ["m1"]}}}
    verdict = judge(Gathered({"m1": of_apiserver("503")}, facts=facts))
    assert not verdict.problems
    (warning,) = verdict.warnings
    assert warning.startswith("m1: `ready` of apiserver says no on most hosts where it runs: 503")
    assert judge(Gathered({"m1": "asked=apiserver"}, facts=facts)).problems


def test_a_sick_one_beside_ready_ones_is_a_warning() -> None:
    verdict = ready_now(of_apiserver("no"), of_apiserver("ok"), of_apiserver("ok"))
    assert not verdict.problems
    assert verdict.warnings == ("m1: apiserver runs and is not ready: no",)


@pytest.mark.parametrize(
    "answer", ["asked=", of_apiserver("down", "no"), of_apiserver("ok"), of_apiserver("ok", "no")]
)
def test_what_does_not_run_or_was_not_asked_says_nothing(answer: str) -> None:
    verdict = ready_now(answer)
    assert not verdict.problems and not verdict.warnings


@pytest.mark.parametrize(
    "answer", [of_apiserver("ok", "maybe"), "asked=apiserver", "asked=a\nasked=a"]
)
def test_an_answer_that_is_none_is_refused(answer: str) -> None:
    assert [p.host for p in ready_now(of_apiserver("ok"), answer).problems] == ["m2"]


def test_one_host_does_not_decide_for_the_others() -> None:
    verdict = ready_now(of_apiserver("no"), of_apiserver("no"), of_apiserver("ok"))
    assert [p.host for p in verdict.problems] == ["m1", "m2"]


@pytest.mark.parametrize("name", ["foo", "etcd"])
def test_a_service_that_the_inventory_has_not_there_is_not_heard_of(name: str) -> None:
    verdict = ready_now(of_apiserver("no").replace("apiserver", name))
    assert not verdict.problems and not verdict.warnings


def test_a_host_that_was_too_slow_is_a_warning() -> None:
    verdict = ready_now(of_apiserver("ok"), m9="took longer than 30 s")
    assert verdict.warnings == (
        "m9: did not say whether its services are ready: took longer than 30 s",
    )


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
