"""What one thing costs: the unit costs that are measured, and that the projections are plain arithmetic over."""

from __future__ import annotations

from dataclasses import dataclass

#: PPNs that serve each rule, hence shares of each reading (w); and how many rounds a journal holds at most: a window of a day.
WIDTH, WINDOW_ROUNDS = 4, 96
#: Shares per envelope of a concentrator, as in the testbed.
PACKED = 250


@dataclass(frozen=True, slots=True)
class Units:
    """What one thing costs, measured on one core unless a field says otherwise."""

    meter_seal_microseconds: float  # split and seal one reading into w shares
    meter_key_microseconds: float  # agree on one key, once per epoch and PPN
    open_microseconds: float  # unseal and check one share
    keep_microseconds: float  # put one share into the journal
    add_microseconds: float  # add one share to one sum, with its place in the digest
    receipt_microseconds: float  # sign one receipt
    carry_microseconds: float  # receive one message and publish its receipt, without what is in it
    front_microseconds: float  # what a PPN with workers does itself per share, in envelopes of 250
    roster_microseconds: float  # make one meter's part of a roster
    decide_microseconds: float  # one meter's part of the configurator's decision over w rosters
    single_bytes: float  # an envelope of one share, with its topic
    packed_bytes: float  # one share in an envelope of 250
    single_receipt_bytes: float
    packed_receipt_bytes: float  # per share
    journal_bytes: float  # one share on disk
    roster_bytes: float  # one meter in a roster
    decision_bytes: float  # one meter in a decision
    memory_bytes: float  # one meter in a PPN's memory, with one round's share
    mosquitto_single: float  # messages per second of the broker's CPU, QoS 1, to one reader
    mosquitto_packed: float
    nats_single: float
    nats_packed: float
    cluster_single: float
    cluster_packed: float
    connection_bytes: float  # one idle connection with mutual TLS in Mosquitto's resident memory
    handshake_microseconds: float  # the broker's CPU for one mutual TLS handshake with CONNECT


#: What each is called on the page.
UNIT_NAMES = {
    "meter_seal_microseconds": "meter: split and seal one reading (w = 4), us",
    "meter_key_microseconds": "meter or PPN: agree on one key, once per epoch, us",
    "open_microseconds": "PPN: unseal and check one share, us",
    "keep_microseconds": "PPN: one share into the journal, us",
    "add_microseconds": "PPN: add one share to one sum, with the contributor digest, us",
    "receipt_microseconds": "PPN: sign one receipt, us",
    "carry_microseconds": "PPN: receive one message and publish its receipt, us",
    "front_microseconds": "PPN with workers: its own work per share, us",
    "roster_microseconds": "PPN: one meter of a roster, us",
    "decide_microseconds": "configurator: one meter of a decision over four rosters, us",
    "single_bytes": "envelope of one share with its topic, bytes",
    "packed_bytes": "one share in an envelope of 250, bytes",
    "single_receipt_bytes": "receipt for one share with its topic, bytes",
    "packed_receipt_bytes": "one share's part of a receipt for 250, bytes",
    "journal_bytes": "one share in the journal, bytes",
    "roster_bytes": "one meter in a roster, bytes",
    "decision_bytes": "one meter in a decision, bytes",
    "memory_bytes": "one meter in a PPN's memory with one round's share, bytes",
    "mosquitto_single": "Mosquitto: messages of one share, per second of CPU",
    "mosquitto_packed": "Mosquitto: envelopes of 250 shares, per second of CPU",
    "nats_single": "NATS, one node: messages of one share, per second of CPU",
    "nats_packed": "NATS, one node: envelopes of 250 shares, per second of CPU",
    "cluster_single": "NATS, three nodes together: messages of one share, per second of CPU",
    "cluster_packed": "NATS, three nodes together: envelopes of 250 shares, per second of CPU",
    "connection_bytes": "Mosquitto: one idle connection with mutual TLS, resident memory, bytes",
    "handshake_microseconds": "Mosquitto: one mutual TLS handshake with CONNECT, us",
}
