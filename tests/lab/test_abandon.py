"""On the embedded lab: a member is lost for good, the others are restored without it, and it does
no harm when somebody powers it on again with its old data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.lab import data, layout
from drctl.lab.layout import Lab, LabHost
from drctl.lab.local import driver
from drctl.lab.waiting import until
from tests.lab.test_restore import write_later
from tests.support.labs import content, quiet
from tests.support.operator import Operator

pytestmark = pytest.mark.lab
MISMATCH = "cluster ID mismatch"  # etcd's words on both sides


@pytest.fixture
def lab(tmp_path: Path, etcd_dir: Path) -> Iterator[Lab]:
    driver.up(tmp_path / "lab", etcd=etcd_dir, keys=50, value_size=64, say=quiet)
    yield layout.require(tmp_path / "lab")
    driver.down(tmp_path / "lab", quiet)


def logs(host: LabHost) -> str:
    files = (host.root / "var" / "log").rglob("*")
    return "\n".join(f.read_text(errors="replace") for f in files if f.is_file())


def test_a_lost_member_is_gone_without_and_harmless_when_it_comes_back(
    lab: Lab, tmp_path: Path
) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    site, (first, _, gone) = driver.site(lab.directory), lab.hosts
    answers = operator.restore(snapshot, "--replace-healthy", "--abandon", gone.name)
    assert answers.returncode == 4, answers.stderr
    assert f"{gone.name}: is to be abandoned, but answers" in answers.stderr

    site.power_off(gone.name)
    refused = operator.restore(snapshot, "--replace-healthy")
    assert refused.returncode == 8, refused.stderr
    assert f"--abandon {gone.name}" in refused.stderr
    restored = operator.restore(snapshot, "--replace-healthy", "--abandon", gone.name)
    assert restored.returncode == 0, restored.stderr
    assert f"ABANDONED: {gone.name}: wipe it" in restored.stderr
    assert f"member add {gone.member_name} --peer-urls={gone.peer_url}" in restored.stderr
    run = operator.last_run()
    assert run["abandoned"] == [gone.name]
    assert content(lab) == saved

    old = logs(gone)
    site.power_on(gone.name)
    site.start(gone.name, "etcd")
    until(
        lambda: MISMATCH in logs(gone).removeprefix(old) or MISMATCH in logs(first), 60, "a meeting"
    )
    status = operator.status()
    by_host = {member["host"]: member for member in status["members"]}
    assert by_host[first.name]["healthy"]
    assert not by_host[gone.name]["healthy"], "the old member serves somebody"
    verified = operator.types("verify", *operator.on)
    assert verified.returncode == 9  # the inventory still names three members
    assert content(lab) == saved
    with data.gateway(first) as gateway:  # and the restored cluster goes on writing
        data.write_keys(gateway, "afterwards", 5, 16)
    assert set(content(lab)) > set(saved)
