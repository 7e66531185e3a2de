"""`drctl restore`, `rollback` and `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drctl.cli import complete
from drctl.cli.common import (
    FILE,
    Options,
    can_ask,
    inventory_option,
    output_option,
    refuse_unknown,
    state_dir_option,
    stop_on_signals,
    yes_option,
)
from drctl.cli.secret import WAYS, read_secrets, secret_option
from drctl.commands.clean import clean
from drctl.commands.dry_run import dry_run
from drctl.commands.restore import restore
from drctl.commands.resume import resume
from drctl.commands.rollback import rollback
from drctl.errors import UsageError
from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan
from drctl.runs.controller import Controller
from drctl.runs.drift import ACCEPTABLE
from drctl.ui.console import print_json, print_text, tell
from drctl.ui.documents import hand_over, run_document, taken_back
from drctl.ui.plans import plan_document, plan_text

var_option = click.option(
    "--var",
    "variables",
    multiple=True,
    metavar="K=V",
    help="A value for the runbook. Not for secrets: every record shows it.",
)
dry_run_option = click.option(
    "--dry-run", "dry_only", is_flag=True, help="Print what would run; change nothing on any node."
)
resume_option = click.option(
    "--resume",
    "unfinished",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Resume an unfinished run [default: the cluster's latest].",
    shell_complete=complete.runs,
)

accept_drift_option = click.option(
    "--accept-drift",
    multiple=True,
    metavar="FIELD",
    help="Accept a refusal by the name in its brackets (node.HOST.FIELD); with "
    "--resume: that this changed.",
)


@click.command("restore")
@click.option("--snapshot", type=FILE, help="The backup file to restore (etcdctl snapshot save).")
@inventory_option
@click.option("--staged", is_flag=True, help="Rebuild while the old cluster serves.")
@click.option(
    "--runbook", metavar="NAME|FILE", help="Use another runbook.", shell_complete=complete.runbooks
)
@dry_run_option
@click.option("--offline", is_flag=True, help="With --dry-run: do not connect to any host.")
@resume_option
@accept_drift_option
@click.option(
    "--abandon",
    multiple=True,
    metavar="HOST",
    help="Restore without this lost host.",
    shell_complete=complete.hosts,
)
@click.option("--replace-healthy", is_flag=True, help="Replace a cluster that still has a quorum.")
@var_option
@secret_option
@yes_option
@state_dir_option
@output_option
@click.pass_obj
def restore_command(
    options: Options,
    snapshot: Path | None,
    inventory: Path,
    staged: bool,
    runbook: str | None,
    dry_only: bool,
    offline: bool,
    unfinished: str | None,
    accept_drift: tuple[str, ...],
    replace_healthy: bool,
    abandon: tuple[str, ...],
    variables: tuple[str, ...],
    secret: tuple[str, ...],
    yes: bool,
) -> None:
    """Restore one snapshot on every member, in eight steps."""
    if staged and runbook:
        raise UsageError("--staged and --runbook exclude each other")
    if offline and not dry_only:
        raise UsageError("--offline needs --dry-run", hint="add --dry-run")
    _refuse_mixed(dry_only, unfinished, accept_drift)
    if unfinished is None and snapshot is None:
        raise UsageError("which snapshot?", hint="add --snapshot FILE")
    chosen = runbook or ("restore-staged" if staged else "restore")
    asked: dict[str, Any] = {
        "replace_healthy": replace_healthy,
        "vars": parse_vars(variables),
        "accept_drift": [*accept_drift],
    }
    if abandon and unfinished is not None:
        raise UsageError("--abandon is for a new run", hint="a resume leaves out the same hosts")
    if abandon:
        asked["abandon"] = list(abandon)
    controller = options.controller(yes=yes, secrets=read_secrets(secret, tuple(asked["vars"])))
    if dry_only:
        _dry_run(options, controller, inventory, chosen, snapshot, asked, offline=offline)
        return
    stop_on_signals(options)
    loaded = load_inventory(inventory)
    if unfinished is None:
        _finish(options, *restore(controller, loaded, chosen, snapshot, asked))
    else:
        done = resume(controller, loaded, unfinished, snapshot, accept_drift=accept_drift)
        _finish(options, *done)


@click.command("run")
@click.argument("runbook", metavar="RUNBOOK", shell_complete=complete.runbooks)
@inventory_option
@click.option("--snapshot", type=FILE, help="The file that `upload: snapshot` steps send.")
@dry_run_option
@resume_option
@accept_drift_option
@var_option
@secret_option
@yes_option
@state_dir_option
@output_option
@click.pass_obj
def run_command(
    options: Options,
    runbook: str,
    inventory: Path,
    snapshot: Path | None,
    dry_only: bool,
    unfinished: str | None,
    accept_drift: tuple[str, ...],
    variables: tuple[str, ...],
    secret: tuple[str, ...],
    yes: bool,
) -> None:
    """Run your own runbook (a file) or a shipped one (by name)."""
    asked: dict[str, Any] = {"vars": parse_vars(variables), "accept_drift": [*accept_drift]}
    _refuse_mixed(dry_only, unfinished, accept_drift)
    controller = options.controller(yes=yes, secrets=read_secrets(secret, tuple(asked["vars"])))
    if dry_only:
        _dry_run(options, controller, inventory, runbook, snapshot, asked, offline=False)
        return
    stop_on_signals(options)
    loaded = load_inventory(inventory)
    if unfinished is None:
        _finish(options, *restore(controller, loaded, runbook, snapshot, asked))
    else:
        done = resume(controller, loaded, unfinished, snapshot, accept_drift=accept_drift)
        _finish(options, *done)


def _refuse_mixed(dry_only: bool, unfinished: str | None, accept_drift: tuple[str, ...]) -> None:
    """Raises UsageError for options of a new run beside those of a resume."""
    if unfinished is None:
        refuse_unknown(accept_drift)
    if dry_only and unfinished is not None:
        raise UsageError("--dry-run is for a new run", hint="see what is left: drctl runs show")


@click.command("rollback")
@click.argument("run", required=False, shell_complete=complete.runs)
@inventory_option
@click.option(
    "--lose-writes", is_flag=True, help="Agree to lose what was written since the restore."
)
@click.option(
    "--accept-drift",
    multiple=True,
    metavar="FIELD",
    help="Accept that this changed: machine_id.HOST, history.HOST, secret.NAME, templates, "
    "steps.STEP.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="HOST",
    help="Leave this host out.",
    shell_complete=complete.hosts,
)
@secret_option
@yes_option
@state_dir_option
@output_option
@click.pass_obj
def rollback_command(
    options: Options,
    run: str | None,
    inventory: Path,
    lose_writes: bool,
    accept_drift: tuple[str, ...],
    without: tuple[str, ...],
    secret: tuple[str, ...],
    yes: bool,
) -> None:
    """Roll a run back: data and services as they were before it.

    --without leaves out a host that is unreachable or not trusted; once it is repaired, run the
    same command without it. If Kubernetes has written to the restored cluster, drctl counts what
    would be lost and asks. --yes does not answer that question: --lose-writes does."""
    if other := [name for name in accept_drift if not name.startswith(ACCEPTABLE["undo"])]:
        raise UsageError(
            f"a rollback cannot accept {', '.join(other)}",
            hint="use the run's own inventory; only machine_id.HOST, history.HOST, secret.NAME, "
            "templates and steps.STEP can be accepted",
        )
    stop_on_signals(options)
    meant = "--lose-writes" if lose_writes else ""
    controller = options.controller(yes=yes, meant=meant, secrets=read_secrets(secret))
    asked = not yes and can_ask()
    _, state = rollback(
        controller,
        load_inventory(inventory),
        run,
        lose_writes=lose_writes or asked,
        accept_drift=accept_drift,
        without=without,
    )
    if options.json:
        print_json(run_document(state))
    else:
        tell(taken_back(state))


@click.command("clean")
@click.argument("run", required=False, shell_complete=complete.runs)
@inventory_option
@yes_option
@state_dir_option
@output_option
@click.pass_obj
def clean_command(options: Options, run: str | None, inventory: Path, yes: bool) -> None:
    """Remove the old data that a finished run keeps.

    Shows what and how much first, and asks. The run can no longer be rolled back then. Default: the
    latest finished run that keeps any."""
    stop_on_signals(options)
    _, state = clean(options.controller(yes=yes), load_inventory(inventory), run)
    if options.json:
        print_json(run_document(state))
    else:
        tell(f"the old data of run {state.run} is removed")


def parse_vars(pairs: tuple[str, ...]) -> dict[str, str]:
    """`K=V` pairs; raises UsageError for anything else."""
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not (name.isascii() and name.isidentifier()):
            raise UsageError(f"--var {pair!r} is not K=V", hint=f"for a secret: {WAYS}")
        values[name] = value
    return values


def _dry_run(
    options: Options,
    controller: Controller,
    inventory: Path,
    runbook: str,
    snapshot: Path | None,
    asked: dict[str, Any],
    *,
    offline: bool,
) -> None:
    def show(plan: Plan) -> None:
        if not options.json:
            print_text(plan_text(plan))

    loaded = load_inventory(inventory)
    plan = dry_run(controller, loaded, runbook, snapshot, asked, offline=offline, show=show)
    if options.json:
        print_json(plan_document(plan))


def _finish(options: Options, plan: Plan, state: RunState) -> None:
    if options.json:
        print_json(run_document(state))
    else:
        tell(hand_over(plan, state))
