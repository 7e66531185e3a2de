"""What newer Kubernetes does otherwise than 1.20.2, which is all that can be built here.

An imitation answers as 1.36.3 was recorded to (`newer_apiserver_stand_in`); programs that only
print that version's `--help` stand for the real ones.
"""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError

import pytest

from drctl.drill import kubeworld
from drctl.lab import again, probe
from drctl.lab.kubeapi import KubeApi, KubeError
from tests.lab.newer_apiserver_stand_in import NewerApiserver, newer_apiserver

WIDGETS = "/apis/drill.example/v1/namespaces/drill/widgets"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited, and is not."""
    waited: list[float] = []
    monkeypatch.setattr(again.time, "sleep", waited.append)
    return waited


def test_a_newer_apiserver_that_says_again_soon_is_asked_again_when_it_said(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=2) as server, _api(server) as api:
        made = api.create(WIDGETS, {"metadata": {"name": "w0"}})
        assert made["metadata"]["name"] == "made"
        assert api.items(WIDGETS) == []
    assert server.asked == {f"POST {WIDGETS}": 3, f"GET {WIDGETS}": 3}
    assert pauses == [1.0] * 4


def test_patience_with_a_newer_apiserver_ends(tmp_path: Path, pauses: list[float]) -> None:
    with (
        newer_apiserver(tmp_path, not_yet=1000) as server,
        _api(server, patience=0.5) as api,
        pytest.raises(KubeError, match=r"429: storage is \(re\)initializing") as caught,
    ):
        api.get(WIDGETS)
    assert caught.value.status == 429
    assert pauses == []  # a whole second would have been too late


@pytest.mark.parametrize(
    ("told", "pause"), [("0", 0.1), ("3", 3.0), ("Sun, 29 Nov 2026 00:00:00 GMT", 1.0)]
)
def test_what_retry_after_may_say(
    tmp_path: Path, pauses: list[float], told: str, pause: float
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server, _api(server) as api:
        server.retry_after = told
        api.get(WIDGETS)
    assert pauses == [pause]


def test_too_many_requests_without_a_word_of_when_is_an_answer(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server, _api(server) as api:
        server.retry_after = None
        with pytest.raises(KubeError, match="429"):
            api.get(WIDGETS)
    assert pauses == []


def test_the_labs_probe_waits_for_a_newer_apiserver_too(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server:
        ca = str(server.access.ca)
        assert probe.fetch(f"{server.url}/readyz", ca)
        assert pauses == [1.0]
        server.asked.clear()
        with pytest.raises(HTTPError, match="429"):
            probe.fetch(f"{server.url}/readyz", ca, timeout=0.9)


def test_the_lease_that_a_newer_apiserver_makes_anew_is_not_missed(tmp_path: Path) -> None:
    with newer_apiserver(tmp_path) as server, _api(server) as api:
        before = kubeworld.look(api)
        server.restart()
        assert before.missing_from(kubeworld.look(api)) == []
        server.kept.clear()
        assert before.missing_from(kubeworld.look(api)) == [
            ("leases.coordination.k8s.io", "kube-system", "user-lease")
        ]


def _api(server: NewerApiserver, patience: float = 30.0) -> KubeApi:
    return KubeApi(server.url, server.access, patience=patience)
