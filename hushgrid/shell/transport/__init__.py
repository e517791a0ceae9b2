"""The one package that speaks MQTT: 3.1.1, QoS 1, persistent sessions, reconnection for ever, to the next node of a cluster.

Nothing is silently discarded here. A publish waits for the broker's acknowledgement and is repeated after a reconnection. A
message is acknowledged to the broker when the reader asks for the next one, so the broker's window (`max_inflight_messages`)
bounds what waits here, and what a killed reader held comes again. Expect duplicates. A broker's acknowledgement is no
durability: receipts above this layer are.
"""

from hushgrid.shell.transport.connection import INCOMING_HIGH
from hushgrid.shell.transport.interface import BrokerAddress, Contexts, Message, TlsFiles, Transport, Will
from hushgrid.shell.transport.mqtt import OUTSTANDING_PUBLISHES, MqttTransport
from hushgrid.shell.transport.probe import Probe
from hushgrid.shell.transport.silence import SILENCE_SECONDS

__all__ = [
    "INCOMING_HIGH",
    "OUTSTANDING_PUBLISHES",
    "SILENCE_SECONDS",
    "BrokerAddress",
    "Contexts",
    "Message",
    "MqttTransport",
    "Probe",
    "TlsFiles",
    "Transport",
    "Will",
]
