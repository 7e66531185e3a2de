"""The inventory: which hosts make up a cluster, how to reach them, what runs there."""

from drctl.inventory.fields import split_jump
from drctl.inventory.load import inventory_of, inventory_schema, load_inventory
from drctl.inventory.resolved import (
    Commands,
    Host,
    Inventory,
    LocalCertificates,
    Member,
    Prepare,
    Service,
)

__all__ = [
    "Commands",
    "Host",
    "Inventory",
    "LocalCertificates",
    "Member",
    "Prepare",
    "Service",
    "inventory_of",
    "inventory_schema",
    "load_inventory",
    "split_jump",
]
