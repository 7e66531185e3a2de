"""The inventory: which hosts make up a cluster, how to reach them, what runs there."""

from drctl.inventory.fields import split_jump
from drctl.inventory.load import inventory_schema, load_inventory
from drctl.inventory.resolved import (
    Commands,
    EtcdSettings,
    Host,
    Inventory,
    LocalCertificates,
    Member,
    Prepare,
    Service,
    Tls,
)

__all__ = [
    "Commands",
    "EtcdSettings",
    "Host",
    "Inventory",
    "LocalCertificates",
    "Member",
    "Prepare",
    "Service",
    "Tls",
    "inventory_schema",
    "load_inventory",
    "split_jump",
]
