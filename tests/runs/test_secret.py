"""`--secret`: it reaches the scripts that use it, and no record, text or command line."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from drctl.cli import secret as cli_secret
from drctl.errors import StepFailed
from drctl.plan.secrets import HidingTransport, hider, seal, sealed_again
from drctl.transport import CommandResult, Script
from drctl.ui import console
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench, Ended
from tests.support.fake_transport import FakeTransport

SECRET = "canary/it is-a-secret"
OWN = """\
runbook: own
title: by hand
source: our wiki
phases:
- title: do it
  steps:
  - {id: stop-timer, service: dependents, want: fenced}
  - {id: send, hosts: etcd, run: stage/snapshot}
"""


@pytest.fixture(autouse=True)
def open_terminal() -> Iterator[None]:
    """What one test keeps out of the terminal is not kept out in the next."""
    yield
    console._hiding.clear()


class Own:
    """An own runbook that stages at a place which nobody may know."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.book = bench.runbook(OWN)
        self.file = bench.folder / "secret.txt"
        self.give(SECRET)
        self.given = ("--secret", f"stage=@{self.file}")
        self.used: list[str] = []
        for node in bench.rig.nodes.values():
            node.part = True
        accept = bench.rig.acts["stage/snapshot/act"]

        def act(node: Any, script: Script, env: Any) -> None:
            assert SECRET not in script.body
            self.used.append(env["DRCTL_STAGE"])
            accept(node, script, env)

        bench.rig.acts["stage/snapshot/act"] = act

    def give(self, value: str) -> None:
        self.file.write_text(value + "\n")
        self.file.chmod(0o600)

    def run(self, *more: object) -> Ended:
        return self.bench.drctl(
            "run",
            self.book,
            "-i",
            self.bench.inventory,
            "--snapshot",
            self.bench.snapshot,
            "--var",
            "wal_stage=",
            "--yes",
            *more,
        )

    def resume(self, *more: object) -> Ended:
        return self.bench.resume(*more)

    def rollback(self, *more: object) -> Ended:
        return self.bench.rollback(*more)


@pytest.fixture
def own(bench: Bench) -> Own:
    return Own(bench)


def everywhere(bench: Bench) -> str:
    """All that is recorded, here and on the nodes."""
    found = [p.read_bytes().decode("utf-8", "replace") for p in bench.state_dir.rglob("*.sqlite*")]
    for node in bench.rig.nodes.values():
        found += [*node.papers.values(), *map(str, node.started.values())]
    return "\n".join(found)


def test_it_reaches_the_scripts_and_no_record(own: Own) -> None:
    ended = own.run(*own.given)
    assert ended.exit == 0, ended.err
    assert own.used == [SECRET] * 3
    text = everywhere(own.bench) + ended.out + ended.err
    assert '"own"' in text and "secret.stage" in text
    assert "canary" not in text
    assert "stage" not in own.bench.state().values
    assert base64.b64encode(SECRET.encode()).decode() not in text


def test_a_dry_run_names_it(own: Own) -> None:
    for more in ((), ("--output", "json")):
        ended = own.run(*own.given, "--dry-run", *more)
        assert ended.exit == 0, ended.err
        assert "secret stage" in ended.out
        assert "canary" not in ended.out + ended.err
    assert not own.bench.state_dir.exists()


def test_what_a_node_repeats_of_it_is_hidden(own: Own, tmp_path: Path) -> None:
    said = f"cannot open {SECRET}; {base64.b64encode(SECRET.encode()).decode()}"
    own.bench.rig.trouble("job/start", CommandResult(0, "done 1\n", said), step="send", times=9)
    ended = own.run(*own.given)
    assert ended.exit == 5
    assert "cannot open ‹stage›; ‹stage›" in ended.err
    page = own.bench.folder / "run.html"
    shown = [
        own.bench.drctl("runs", "show"),
        own.bench.drctl("runs", "show", "--output", "json"),
        own.bench.drctl("runs", "report", "--html", page),
    ]
    texts = [ended.err, everywhere(own.bench), html.unescape(page.read_text())]
    texts += [each.out + each.err for each in shown]
    assert not [text for text in texts if "canary" in text]


def test_a_resume_needs_it_again_and_the_same(own: Own) -> None:
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2")
    assert own.run(*own.given).exit == 5
    without = own.resume()
    assert without.exit == 2
    assert "needs the secret stage again" in without.err
    assert "--secret stage=@FILE" in without.err
    own.give("another-secret")
    other = own.resume(*own.given)
    assert other.exit == 6
    assert "secret.stage: was " in other.err and "--accept-drift secret.stage" in other.err
    assert "another-secret" not in other.err
    own.give(SECRET)
    assert own.resume(*own.given).exit == 0
    assert set(own.used) == {SECRET}


def test_another_one_can_be_accepted(own: Own) -> None:
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2", times=2)
    assert own.run(*own.given).exit == 5
    own.give("another-secret")
    assert own.resume(*own.given, "--accept-drift", "secret.stage").exit == 5
    assert own.resume(*own.given).exit == 0  # it means the other one now
    assert own.used[-1] == "another-secret"
    undone = own.rollback(*own.given, "--lose-writes")
    assert undone.exit == 0, undone.err


def test_it_is_asked_for_where_somebody_can_answer(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **how: Any) -> str:
        asked.append({"text": text, **how})
        return SECRET

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr(cli_secret, "can_ask", lambda: True)
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2")
    assert own.run("--secret", "stage").exit == 5
    assert own.resume().exit == 0
    assert [each["text"] for each in asked] == ["secret stage"] * 2
    assert all(each["hide_input"] for each in asked)


def test_a_rollback_needs_it_where_its_scripts_use_it(own: Own) -> None:
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2")
    assert own.run(*own.given).exit == 5
    assert own.rollback().exit == 2
    own.give("another-secret")
    assert own.rollback(*own.given).exit == 6
    own.give(SECRET)
    assert own.rollback(*own.given).exit == 0
    assert "canary" not in everywhere(own.bench)


def test_a_rollback_does_not_need_it_otherwise(own: Own) -> None:
    own.book = own.bench.runbook(OWN.replace("run: stage/snapshot", "run: stage/clean"))
    own.bench.rig.trouble("job/start", FAILED, step="stop-timer", host="m2")
    assert own.run(*own.given).exit == 5
    assert own.rollback().exit == 0


def test_on_another_machine_it_is_not_known_to_be_the_same(own: Own) -> None:
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2")
    assert own.run(*own.given).exit == 5
    there = ("--state-dir", own.bench.folder / "there")
    on = ("--inventory", own.bench.inventory)
    adopted = own.bench.drctl("runs", "adopt", *on, "--runbook", own.book, "--gone", *there)
    assert adopted.exit == 0, adopted.err
    ended = own.resume(*own.given, *there)
    assert ended.exit == 0, ended.err
    assert "cannot tell on this machine whether stage is the same secret as before" in ended.err
    assert set(own.used) == {SECRET}


def test_a_run_knows_its_secrets_by_name(own: Own) -> None:
    own.bench.rig.trouble("job/start", FAILED, step="send", host="m2")
    assert own.run(*own.given).exit == 5
    ended = own.resume(*own.given, "--secret", f"other=@{own.file}")
    assert (ended.exit, "has no secret other" in ended.err) == (2, True)


def test_what_to_type_again_names_it(own: Own) -> None:
    own.bench.rig.silent = {"m1", "m2", "m3", "w1"}
    assert own.run(*own.given).exit == 8
    shown = own.bench.drctl("runs", "show", "--output", "json").document
    assert shown["next"].endswith("--var wal_stage='' --secret stage")


# -- how it is given ----------------------------------------------------------------------------


def test_a_value_on_the_command_line_is_refused_and_not_repeated(own: Own) -> None:
    ended = own.run("--secret", f"stage={SECRET}")
    assert ended.exit == 2
    assert "replace it" in ended.err and "--secret NAME=@FILE" in ended.err
    assert "canary" not in ended.out + ended.err
    assert own.bench.rig.calls == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("stage=@/nowhere", "cannot be read: No such file"),
        ("stage=env:DRCTL_TEST_NONE", "no such variable"),
        ("stage", "no terminal"),
        ("can ary=env:HOME", "needs a name"),
        ("wal_stage=env:DRCTL_TEST_SECRET", "wal_stage is given twice"),
        ("stage=@SHORT", "shorter than 4 characters"),
        ("stage=@NUL", "NUL"),
        ("stage=@LONG", "longer than"),
        ("stage=@BYTES", "not text"),
    ],
)
def test_what_cannot_be_a_secret(
    own: Own, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("DRCTL_TEST_SECRET", SECRET)
    for name, content in (("SHORT", b"abc\n"), ("NUL", b"ab\0cd"), ("BYTES", b"\xff\xfe\xff\xfe")):
        (own.bench.folder / name).write_bytes(content)
    (own.bench.folder / "LONG").write_bytes(b"x" * 40000)
    monkeypatch.chdir(own.bench.folder)
    ended = own.run("--secret", given)
    assert ended.exit == 2
    assert said in ended.err
    assert own.bench.rig.calls == []


def test_from_the_environment(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCTL_TEST_SECRET", SECRET)
    ended = own.run("--secret", "stage=env:DRCTL_TEST_SECRET")
    assert ended.exit == 0, ended.err
    assert own.used == [SECRET] * 3


def test_a_file_that_others_may_read_is_told(own: Own) -> None:
    own.file.chmod(0o644)
    ended = own.run(*own.given)
    assert ended.exit == 0
    assert f"warning: others may read {own.file} (mode 644)" in ended.err


def test_the_terminal_shows_none_of_it(
    own: Own, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_secret.read_secrets((f"stage=@{own.file}",))
    console.tell(f"a {SECRET} b")
    console.print_json({SECRET: SECRET})
    console.print_table(("x",), [[SECRET]])
    said = capsys.readouterr()
    assert "canary" not in said.out + said.err
    assert "‹stage›" in said.out and "‹stage›" in said.err
    assert json.loads(said.out.split("}")[0] + "}") == {"‹stage›": "‹stage›"}


# -- the parts ----------------------------------------------------------------------------------


def test_every_form_of_it_is_taken_out() -> None:
    value = 'first line of it\nsecond "line" of it'
    hide = hider({"key": value, "pin": "7041"})
    for form in (value, json.dumps(value), base64.b64encode(value.encode()).decode()):
        assert "line" not in hide(f"x{form}y")
        assert base64.b64encode(value.encode()).decode() not in hide(f"x{form}y")
    assert hide('x second "line" of it') == "x ‹key›"
    assert hide("pin=7041, 70410 a7041") == "pin=‹pin›, 70410 a7041"
    assert hider({})("anything") == "anything"


def test_no_secret_comes_back_in_an_error(tmp_path: Path) -> None:
    def refuse(*_: object) -> NoReturn:
        raise StepFailed(f"bad {SECRET}")

    inner = FakeTransport(handlers={"x": refuse}, on_upload=refuse, on_download=refuse)
    transport = HidingTransport(inner, hider({"stage": SECRET}))
    for call in (
        lambda: transport.run("h", Script("x", ""), deadline=1),
        lambda: transport.upload("h", tmp_path, "/x", deadline=1),
        lambda: transport.download("h", "/x", tmp_path, deadline=1),
    ):
        with pytest.raises(StepFailed) as error:
            call()
        assert "canary" not in repr(error.value) + str(error.value)


def test_a_seal_tells_the_same_from_another_and_nothing_else() -> None:
    key, other = b"k" * 32, b"o" * 32
    then = seal(key, "1234")
    assert sealed_again(key, "1234", then) == then
    assert sealed_again(key, "1235", then) not in (None, then)
    assert sealed_again(other, "1234", then) is None
    assert seal(key, "1234") != then  # a salt of its own each time
    _, salt, digest = then.split(":")
    assert digest not in {seal(other, f"{n:04}", salt).split(":")[2] for n in range(1230, 1240)}


def test_the_key_is_made_once_and_closed(own: Own) -> None:
    first, second = own.bench.store.key(), own.bench.store.key()
    assert first == second and len(first) == 32
    assert (own.bench.state_dir / "seal.key").stat().st_mode & 0o777 == 0o600
