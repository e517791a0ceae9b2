"""Where things are in the containers of a testbed, and who they belong to."""

from __future__ import annotations

from pathlib import Path

#: Where an agent sees its own volume.
HOME = Path("/var/lib/hushgrid")
#: Folders of a deployment that are no agent's.
METERS, CONDUCTOR, BROKER, AUTHORITY = "meters", "conductor", "broker", "authority"
DESCRIPTION = "testbed.json"
#: The account of every agent's container; the group of the broker's in its public image.
AGENT_UID, BROKER_GROUP = 10001, 1883
BROKER_PORT = 1883
OPEN_BROKER = f"""\
listener {BROKER_PORT}
allow_anonymous true
persistence false
# The default of 1000 silently drops acknowledged messages for absent agents; receipts bound the flow instead.
max_queued_messages 0
max_inflight_messages 200
log_dest stderr
log_type error
log_type warning
"""
