"""What neighbours say to each other before a period: repeated until it is answered, believed only from the neighbour itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.masked import PairEnvelope
from hushgrid.wire.topics import Channel, Topic
from meter_agent.masked.pairing import Pairing
from meter_agent.masked.streams import MaskedStreams


class Neighbourhood:
    """One `Pairing` per station of the street, over the real journals; nothing else of the masking runs."""

    def __init__(self, street):
        self.street, self.streams, self.pairings = street, {}, {}
        for name in street.stations:
            self.begin(name)

    def begin(self, name):
        """As after a kill: only the disk is left."""
        station = self.street.stations[name]
        station.begin()
        streams = self.streams[name] = MaskedStreams(station, station.masking.journal)
        for _, adopted in station.membership.plans:
            streams.adopt(adopted, station.meters)
        self.pairings[name] = Pairing(station, station.masking.journal, streams, station.backoff)

    async def say(self, name, *, restart=True, first_round=10):
        """What a station says of a period when all without an answer is due: recipient -> envelope, as bytes."""
        station = self.street.stations[name]
        if restart:
            station.backoff.restart()
        await self.pairings[name].publish()
        return {
            recipient: payload
            for recipient, payload in station.taken(Channel.PAIR)
            if PairEnvelope.from_bytes(payload).first_round == first_round
        }

    async def hear(self, name, payload, sender):
        """A station hears; what it answers, by recipient."""
        if isinstance(payload, PairEnvelope):
            payload = payload.to_bytes()
        await self.pairings[name].hear(Topic("g", Channel.PAIR, name, sender), payload)
        return dict(self.street.stations[name].taken(Channel.PAIR))

    def kept(self, name, number, round_number=10):
        """neighbour -> (whether it was heard, whether it has answered), as it is on disk."""
        member = (f"m{number}", 1)
        stream, period = self.streams[name].stream_of(member, round_number)
        texts = self.street.stations[name].masking.journal.setups(stream.place(period))
        return {peer: (kept.heard is not None, kept.answered) for peer, kept in texts.items()}


@pytest.fixture
def neighbours(street, terms):
    street.adopt(terms())
    made = Neighbourhood(street)
    for pairing in made.pairings.values():
        pairing.prepare(10)
    return made


def pairs(payload):
    """(sender, recipient) of what an envelope holds."""
    return {(entry.sender, entry.recipient) for entry in PairEnvelope.from_bytes(payload).entries}


def relabelled(payload, **changes):
    """The same envelope with its first entry changed and no other."""
    envelope = PairEnvelope.from_bytes(payload)
    return replace(envelope, entries=(replace(envelope.entries[0], **changes),))


def damaged(payload):
    """The same envelope with the last bit of its first text turned."""
    sealed = PairEnvelope.from_bytes(payload).entries[0].sealed
    return relabelled(payload, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]))


async def test_set_ups_are_said_again_until_they_are_acknowledged_and_are_the_same_after_a_restart(neighbours):
    said = await neighbours.say("there")
    assert {recipient: pairs(payload) for recipient, payload in said.items()} == {
        "here": {(2, 0), (2, 1)},
        "yonder": {(2, 3)},
    }
    assert await neighbours.say("there", restart=False) == {}, "its pause is not over"
    assert await neighbours.say("there") == said
    neighbours.begin("there")
    neighbours.pairings["there"].prepare(10)
    assert await neighbours.say("there") == said
    for name in ("here", "yonder"):
        assert neighbours.pairings["there"].open == 1
        answer = await neighbours.hear(name, said.pop(name), "there")
        await neighbours.hear("there", answer["there"], name)
        assert await neighbours.say("there") == said
    assert neighbours.pairings["there"].open == 0
    neighbours.begin("there")
    neighbours.pairings["there"].prepare(10)
    assert await neighbours.say("there") == {}


async def test_an_acknowledgement_settles_its_own_pair_and_no_other(neighbours):
    said = await neighbours.say("there")
    answer = await neighbours.hear("here", said["here"], "there")
    only = relabelled(answer["there"])
    assert pairs(only.to_bytes()) == {(0, 2)}
    await neighbours.hear("there", only, "here")
    assert neighbours.kept("there", 2) == {0: (False, True), 1: (False, False), 3: (False, False)}
    left = await neighbours.say("there")
    assert {recipient: pairs(payload) for recipient, payload in left.items()} == {"here": {(2, 1)}, "yonder": {(2, 3)}}
    assert neighbours.pairings["there"].open == 1


async def test_an_acknowledgement_for_another_pair_settles_nothing(neighbours):
    said = await neighbours.say("there")
    answer = (await neighbours.hear("here", said["here"], "there"))["there"]
    for changes in ({"sender": 1}, {"sender": 3}, {"acknowledges": False}):
        with pytest.raises(MessageError) as refused:
            await neighbours.hear("there", relabelled(answer, **changes), "here")
        assert refused.value.reason is RejectReason.BAD_SEAL
    own = await neighbours.say("here")
    with pytest.raises(MessageError, match="bad-seal"):  # a set-up is no answer, though the neighbour itself sealed it
        await neighbours.hear("there", relabelled(own["there"], acknowledges=True), "here")
    with pytest.raises(MessageError, match="bad-seal"):  # an answer about another period
        await neighbours.hear("there", replace(relabelled(answer), first_round=15), "here")
    assert neighbours.kept("there", 2) == dict.fromkeys((0, 1, 3), (False, False))
    assert await neighbours.say("there") == said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sender": 9}, RejectReason.NOT_IN_PLAN),
        ({"recipient": 2}, RejectReason.NOT_IN_PLAN),
        ({"sender": 0}, RejectReason.NOT_IN_PLAN),
        ({"sender": 3}, RejectReason.BAD_SEAL),
        ({"recipient": 1}, RejectReason.BAD_SEAL),
    ],
    ids=["no neighbour", "not a meter of this station", "the meter itself", "as another neighbour", "to another meter"],
)
async def test_a_set_up_from_a_stranger_is_refused_and_not_answered(neighbours, changes, reason):
    said = await neighbours.say("there")
    with pytest.raises(MessageError) as refused:
        await neighbours.hear("here", relabelled(said["here"], **changes), "there")
    assert refused.value.reason is reason
    assert neighbours.street.here.published == []
    assert neighbours.kept("here", 0) == dict.fromkeys((1, 2, 3), (False, False))
    assert neighbours.kept("here", 1) == dict.fromkeys((0, 2, 3), (False, False))


async def test_a_set_up_with_a_damaged_seal_is_refused_and_the_whole_one_still_taken(neighbours):
    said = await neighbours.say("there")
    with pytest.raises(MessageError) as refused:
        await neighbours.hear("here", damaged(said["here"]), "there")
    assert refused.value.reason is RejectReason.BAD_SEAL
    assert neighbours.street.here.published == []
    assert neighbours.kept("here", 0)[2] == (False, False)
    assert pairs((await neighbours.hear("here", said["here"], "there"))["there"]) == {(0, 2), (1, 2)}
    assert neighbours.kept("here", 0)[2] == neighbours.kept("here", 1)[2] == (True, False)


async def test_an_acknowledgement_with_a_damaged_seal_settles_nothing(neighbours):
    said = await neighbours.say("there")
    answer = (await neighbours.hear("here", said["here"], "there"))["there"]
    with pytest.raises(MessageError, match="bad-seal"):
        await neighbours.hear("there", damaged(answer), "here")
    assert await neighbours.say("there") == said


async def test_a_set_up_that_does_not_confirm_the_pair_key_is_refused(neighbours):
    stream, period = neighbours.streams["there"].stream_of(("m2", 1), 10)
    said = await neighbours.say("there")
    text = neighbours.street.there.masking.journal.setups(stream.place(period))[0].said
    context = stream.pair_context(0, period, outward=True)
    for wrong, reason in (
        (bytes(16) + text[16:], RejectReason.BAD_SEAL),
        (text[:-1], RejectReason.MALFORMED),
        (text[:16] + b"\xff" * (len(text) - 16), RejectReason.OUT_OF_RANGE),
    ):
        sealed = stream.channel(0, outward=True).seal(wrong, context, period.first)
        with pytest.raises(MessageError) as refused:
            await neighbours.hear("here", relabelled(said["here"], sealed=sealed), "there")
        assert refused.value.reason is reason
    assert neighbours.kept("here", 0)[2] == (False, False)


async def test_a_set_up_heard_again_is_answered_again_and_the_first_text_stands(neighbours):
    said = (await neighbours.say("there"))["here"]
    answer = await neighbours.hear("here", said, "there")
    stream, period = neighbours.streams["here"].stream_of(("m0", 1), 10)
    journal = neighbours.street.here.masking.journal
    heard = journal.setups(stream.place(period))[2].heard
    assert await neighbours.hear("here", said, "there") == answer
    context = stream.pair_context(2, period, outward=False)
    sealed = stream.channel(2, outward=False).seal(heard[:16] + bytes(len(heard) - 16), context, period.first)
    await neighbours.hear("here", relabelled(said, sealed=sealed), "there")
    assert journal.setups(stream.place(period))[2].heard == heard


async def test_a_set_up_for_no_whole_period_of_the_stream_is_refused(neighbours):
    envelope = PairEnvelope.from_bytes((await neighbours.say("there"))["here"])
    for first_round in (11, 5, 0):
        with pytest.raises(MessageError, match="not-in-plan"):
            await neighbours.hear("here", replace(envelope, first_round=first_round), "there")
    for changes in ({"plan_version": 7}, {"stream": 2}):
        with pytest.raises(MessageError, match="not-in-plan"):
            await neighbours.hear("here", replace(envelope, **changes), "there")
    assert neighbours.kept("here", 0)[2] == (False, False)


async def test_a_meter_that_hears_of_a_period_before_it_comes_to_it_says_its_own_part(neighbours):
    neighbours.pairings["there"].prepare(14)
    ahead = await neighbours.say("there", first_round=15)
    assert neighbours.kept("here", 0, 15) == {}
    assert await neighbours.say("here", first_round=15) == {}
    await neighbours.hear("here", ahead["here"], "there")
    assert neighbours.kept("here", 0, 15) == {1: (False, False), 2: (True, False), 3: (False, False)}
    assert pairs((await neighbours.say("here", first_round=15))["there"]) == {(0, 2), (1, 2)}


async def test_what_a_later_plan_takes_back_is_neither_said_nor_heard_any_more(neighbours, terms):
    neighbours.pairings["there"].prepare(14)
    late = (await neighbours.say("there", first_round=15))["here"]
    neighbours.street.adopt(terms(graph=b"n" * 32), version=2, valid_from_round=15)
    for name, station in neighbours.street.stations.items():
        neighbours.streams[name].adopt(station.membership.plans.newest[1], station.meters)
    assert await neighbours.say("there", first_round=15) == {}
    assert set(await neighbours.say("there", first_round=10)) == {"here", "yonder"}
    with pytest.raises(MessageError) as refused:
        await neighbours.hear("here", late, "there")
    assert refused.value.reason is RejectReason.WRONG_PLAN


async def test_what_is_said_about_a_period_that_is_done_with_ends(neighbours):
    assert await neighbours.say("there")
    said = await neighbours.say("there")
    for station in (neighbours.street.there, neighbours.street.here):
        station.masking.journal.forget_before(15)
    assert await neighbours.say("there") == {}
    assert neighbours.pairings["there"].open == 0
    with pytest.raises(MessageError, match="wrong-plan"):
        await neighbours.hear("here", said["here"], "there")


@pytest.mark.filterwarnings("ignore::hushgrid.core.pairwise_published.UnsafeNoiseWarning")
async def test_published_noise_is_settled_when_both_draws_are_there_and_the_two_sides_cancel(street, terms):
    street.adopt(
        terms(variant="published", self_masks=False, noise_span_watt_hours=1000), neighbours_of={2: {3}, 3: {2}}
    )
    neighbours = Neighbourhood(street)
    terms_of = {}
    for name in ("there", "yonder"):
        neighbours.pairings[name].prepare(10)
    for name, other, number in (("there", "yonder", 3), ("yonder", "there", 2)):
        streams = neighbours.streams[other]
        stream, period = streams.stream_of((f"m{number}", 1), 10)
        assert streams.noises(stream, period) is None
        await neighbours.hear(other, (await neighbours.say(name))[other], name)
        (noise,) = streams.noises(stream, period)
        terms_of[other] = [noise.term(r, period) for r in period]
    assert [a + b for a, b in zip(terms_of["there"], terms_of["yonder"], strict=True)] == [0] * 5
    assert any(terms_of["there"])


async def test_meters_of_one_station_speak_to_each_other_as_to_any_neighbour(neighbours):
    said = await neighbours.say("here")
    assert pairs(said["here"]) == {(0, 1), (1, 0)}
    answer = await neighbours.hear("here", said["here"], "here")
    await neighbours.hear("here", answer["here"], "here")
    assert neighbours.kept("here", 0)[1] == neighbours.kept("here", 1)[0] == (True, True)
