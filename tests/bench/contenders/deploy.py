"""The ten reads as a pyinfra deploy: `pyinfra INVENTORY deploy.py --data script=…`."""

from pyinfra import host
from pyinfra.operations import server

for number in range(1, 11):
    server.shell(name=f"read {number}", commands=[host.data.script])
