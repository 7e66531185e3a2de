"""`drctl drill`: game days. Breaks a lab, restores it, measures, proves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from drctl.cli import complete
from drctl.cli.common import (
    FILE,
    FOLDER,
    Options,
    default_state_dir,
    output_option,
    state_dir_option,
    write_page,
)
from drctl.cli.lab import etcd_option
from drctl.errors import NotProven
from drctl.ui.console import print_json, print_table, print_text, tell

DEFAULT_KUBERNETES = {"local": "none", "docker": "build"}
SUMMARY = ("scenario", "verdict", "RTO s", "RPO s", "keys lost", "reason")


class RunByDefault(click.Group):
    """`drctl drill [OPTIONS]` is `drctl drill run [OPTIONS]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("drill", cls=RunByDefault)
def drill_group() -> None:
    """Break a lab, restore it with drctl's own commands, measure."""


@drill_group.command("run")
@click.argument("scenarios", metavar="[SCENARIO ...]", nargs=-1, shell_complete=complete.scenarios)
@click.option("--all", "every", is_flag=True, help="Every scenario of `drctl drill list`.")
@click.option(
    "--driver",
    type=click.Choice(["local", "docker"]),
    default="local",
    show_default=True,
    help="Where the hosts run.",
)
@click.option(
    "--flavour",
    type=click.Choice(["systemd", "static-pod"]),
    help="How the cluster is installed [docker only; default: systemd].",
)
@click.option(
    "--kubernetes",
    metavar="none|build|DIR",
    help="What runs in front of etcd [docker only; default: build, once for this machine].",
)
@click.option("--staged", is_flag=True, help="Restore in the staged order.")
@click.option("--go-on", is_flag=True, help="Skip scenarios that have already passed this way.")
@etcd_option
@click.option(
    "--dir", "directory", type=FOLDER, help="The lab's directory [default: a temporary one]."
)
@click.option("--keep", is_flag=True, help="Keep the last lab running.")
@state_dir_option
@output_option
@click.pass_obj
def drill_run(
    options: Options,
    scenarios: tuple[str, ...] = (),
    every: bool = False,
    driver: str = "local",
    flavour: str | None = None,
    kubernetes: str | None = None,
    staged: bool = False,
    go_on: bool = False,
    etcd: Path | None = None,
    directory: Path | None = None,
    keep: bool = False,
) -> None:
    """Run scenarios from start to end. Nothing is left running; each leaves a record."""
    from drctl.drill import drivers, gameday, scenario

    names = tuple(scenario.shipped()) if every else scenarios or (scenario.DEFAULT,)
    chosen = [scenario.load(name) for name in names]
    game_day = gameday.Drill(
        driver=driver,
        options=drivers.LabOptions(flavour or "", kubernetes or DEFAULT_KUBERNETES[driver], etcd),
        state_dir=options.state_dir or default_state_dir(),
        say=tell,
        directory=directory.absolute() if directory else None,
        staged=staged,
        keep=keep,
    )
    if go_on:
        chosen = game_day.left_of(chosen)
    records = game_day.run(chosen)
    if options.json:
        documents = [made.document() for made in records]
        print_json(documents[0] if len(documents) == 1 else {"drills": documents})
    else:
        for made in records:
            for line in gameday.lines(made):
                print_text(line)
        if len(records) > 1:
            print_table(SUMMARY, (_row(made) for made in records))
    failed = [made.scenario for made in records if made.verdict == "failed"]
    if failed:
        raise NotProven(f"failed: {', '.join(failed)}", hint="see the lines NOT PROVEN above")
    gameday.outcome(records)


@drill_group.command("list")
@output_option
@click.pass_obj
def drill_list(options: Options) -> None:
    """List the scenarios, and where each can be drilled."""
    from drctl.drill import scenario

    known = scenario.catalogue()
    if options.json:
        print_json([one.model_dump(mode="json") for one in known.values()])
        return
    rows = ((name, one.title, ", ".join(one.needs.places)) for name, one in known.items())
    print_table(("scenario", "what happens", "where"), rows)


@drill_group.command("report")
@click.argument("drill", required=False, shell_complete=complete.drills)
@click.option("--html", type=FILE, help="Write the report here, as one HTML page.")
@state_dir_option
@output_option
@click.pass_obj
def drill_report(options: Options, drill: str | None, html: Path | None) -> None:
    """Report on one drill, by default the latest. The page is beside its record, too."""
    from drctl.drill import reporting
    from drctl.evidence.drillpage import drill_page, drill_text

    state_dir = options.state_dir or default_state_dir()
    made = reporting.chosen(state_dir, drill, tell)
    document = reporting.document(made, state_dir, tell)
    if html:
        write_page(html, drill_page(document))
    if options.json:
        print_json(document)
    else:
        print_text(drill_text(document))


HISTORY = ("started", "scenario", "lab", "verdict", "RTO s", "RPO s", "keys lost", "drill")


@drill_group.command("history")
@state_dir_option
@output_option
@click.pass_obj
def drill_history(options: Options) -> None:
    """List every drill on this machine, oldest first."""
    from drctl.drill import reporting

    points = reporting.history(options.state_dir or default_state_dir(), tell)
    if options.json:
        print_json(points)
        return
    print_table(HISTORY, (_line(each) for each in points))


def _line(each: Mapping[str, Any]) -> tuple[str, ...]:
    lab = f"{each['driver']} {each['flavour']}" if each["driver"] == "docker" else each["driver"]
    rto, rpo, keys = each["rto_seconds"], each["rpo_seconds"], each["rpo_keys"]
    return (
        each["started"][:19],
        each["scenario"],
        lab + " staged" * each["staged"],
        each["verdict"],
        "" if rto is None else f"{rto:.1f}",
        "" if rpo is None else f"{rpo:.1f}",
        "" if keys is None else str(keys),
        each["drill"],
    )


def _row(made: object) -> tuple[str, ...]:
    from drctl.drill.record import DrillRecord

    assert isinstance(made, DrillRecord)
    figures = (made.rto_seconds, made.rpo_seconds)
    shown = ("" if seconds is None else f"{seconds:.1f}" for seconds in figures)
    lost = "" if made.rpo_keys is None else str(made.rpo_keys)
    return (made.scenario, made.verdict, *shown, lost, made.reason)
