"""Options that a testbed refuses before anything is started."""

from __future__ import annotations

import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism, Variant
from testbed.choices.parameters import Parameters


def test_the_options_of_masked_readings_are_refused_for_shares():
    with pytest.raises(ConfigurationError) as refused:
        Parameters.of(graph="rubbish", period=-4, self_masks=True, colluders=-9).check()
    assert str(refused.value) == "--graph, --period, --colluders, --self-masks: for --mechanism pairwise or both only"
    with pytest.raises(ConfigurationError, match="--variant, --unsafe-published: for"):
        Parameters.of(variant=Variant.PUBLISHED, unsafe_published=True).check()
    Parameters().check()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"self_masks": True, "losses_borne": -1}, "--losses-borne -1"),
        ({"losses_borne": 3}, "--losses-borne needs --self-masks"),
        ({"period": 1}, "--period 1"),
        ({"period": 70_000}, "--period 70000"),
        ({"colluders": -9}, "--colluders -9"),
        ({"graph": "rubbish"}, "graph 'rubbish'"),
        ({"graph": "random:nan"}, "p = nan"),
    ],
)
def test_an_option_of_masked_readings_that_cannot_be_played_is_named(options, named):
    with pytest.raises(ConfigurationError, match=named):
        Parameters.of(mechanism=Mechanism.PAIRWISE, **options).check()


@pytest.mark.parametrize(
    ("harms", "named"),
    [
        ({"pauses": [("ppn-3", 2, 4)], "kills": [("ppn-3", 3)]}, "--pause ppn-3@2-4 and --kill ppn-3@3 overlap"),
        ({"cuts": [("ppn-2", 2, 5), ("ppn-2", 3, 4)]}, "--cut ppn-2@2-5 and --cut ppn-2@3-4 overlap"),
        ({"cuts": [("ppn-2", 4, 5)], "pauses": [("ppn-2", 1, 4)]}, "--pause ppn-2@1-4 and --cut ppn-2@4-5 overlap"),
        ({"stops": [("ppn-1", 2)], "kills": [("ppn-1", 6)]}, "--stop ppn-1@2 and --kill ppn-1@6 overlap"),
        ({"kills": [("ppn-1", 2), ("ppn-1", 2)]}, "--kill ppn-1@2 and --kill ppn-1@2 overlap"),
    ],
)
def test_an_agent_bears_one_harm_at_a_time(harms, named):
    with pytest.raises(ConfigurationError, match=named) as refused:
        Parameters.of(runtime="docker", **harms).check()
    assert "\n" not in str(refused.value)
    if "cuts" not in harms:
        with pytest.raises(ConfigurationError, match=named):
            Parameters.of(**harms).check()


def test_harms_that_follow_each_other_or_meet_other_agents_are_played():
    cuts = (("ppn-2", 2, 4), ("ppn-2", 5, 6), ("ppn-3", 3, 4), ("broker", 3, 4))
    Parameters.of(runtime="docker", cuts=cuts, kills=(("ppn-2", 1), ("ppn-2", 7), ("ppn-1", 3))).check()


@pytest.mark.parametrize("broker", ["nats", "nats-cluster", "rabbitmq", "embedded", "mqtt://127.0.0.1:1883"])
def test_containers_have_a_mosquitto_of_their_own_and_no_other_broker(broker):
    with pytest.raises(ConfigurationError, match=f"not with --broker {broker}$"):
        Parameters.of(runtime="docker", broker=broker).check()
    with pytest.raises(ConfigurationError, match="--port is for --runtime process"):
        Parameters.of(runtime="docker", port=1883).check()
    Parameters.of(runtime="docker", broker="mosquitto", secure=True).check()
