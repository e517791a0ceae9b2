"""Only a testbed's meter has a link that loses; a deployed one refuses to be given any, and says and hears all."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support import ROOT

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.loss import MASKED, REPAIR, SHARE, LossModel
from hushgrid.conducted.lossy_link import LOG_NAME, LossyLink
from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import load
from hushgrid.wire.masked import MaskedEnvelope
from hushgrid.wire.shares import Envelope, RepairRequest
from meter_agent.config import MeterConfig
from meter_agent.link import PERFECT
from testbed.agents.meter import LinkedMeterConfig, StationLink

SAMPLE = ROOT / "meter_agent" / "sample.toml"
METERS = {n: f"m{n:02}" for n in range(40)}
SHARES = Envelope(1, 7, 2, 5, 40, 0, {n: (n, bytes([n]) * 40) for n in METERS})
READINGS = MaskedEnvelope(1, 3, 7, {n: bytes([n]) * 8 for n in METERS})
MODEL = LossModel(4, 0.3)


class Sent(list):
    """What left the station."""

    async def __call__(self, payload):
        self.append(payload)


@pytest.fixture
def with_link(tmp_path):
    path = tmp_path / "meter.toml"
    path.write_text(SAMPLE.read_text() + "\n[link]\nloss_fraction = 0.1\nseed = 4\n")
    return path


@pytest.fixture
def link_of(tmp_path):
    """A link of such a model, its log in one directory; stages: what a conductor says."""

    def make(model, *stages):
        numbers = {meter: number for number, meter in METERS.items()}
        agent = SimpleNamespace(id="fleet-1", keyring=SimpleNamespace(number=numbers.get))
        return StationLink(LossyLink(model, lambda: stages, tmp_path), lambda: agent, list(numbers))

    return make


def lost_of(model, kind, receiver, attempt=0):
    return {n for n, meter in METERS.items() if model.drops(kind, meter, receiver, 7, attempt)}


def written(directory):
    return [json.loads(line) for line in (directory / LOG_NAME).read_text().splitlines()]


def test_a_deployed_meter_says_that_it_knows_no_link(with_link):
    with pytest.raises(ConfigurationError, match=r"meter\.toml: link: there is no such section or field"):
        load(MeterConfig, with_link)


def test_hushgrid_meter_ends_with_that_word(with_link):
    done = subprocess.run(
        [sys.executable, "-m", "meter_agent", "--config", str(with_link)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "link: there is no such section or field" in done.stderr


def test_a_deployed_meter_loads_nothing_of_the_losses():
    code = "import sys, meter_agent.__main__; sys.exit(any(m.startswith('hushgrid.conducted') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_testbeds_meter_reads_its_link_and_needs_none(with_link):
    model = load(LinkedMeterConfig, with_link).link.model
    assert (model.loss_fraction, model.seed) == (0.1, 4)
    assert load(LinkedMeterConfig, SAMPLE).link.model == LossModel()


@pytest.mark.parametrize("said", [SHARES, READINGS], ids=["shares", "masked"])
async def test_over_a_perfect_link_everything_goes_out_once_and_as_it_is(said):
    sent = Sent()
    await PERFECT.say(said, "ppn-1", sent)
    assert sent == [said.to_bytes()]
    assert PERFECT.given_up(said, "ppn-1") == 0
    assert PERFECT.figures() == {}
    request = RepairRequest(7, 2, 1, (3, 5))
    assert PERFECT.heard(request, "ppn-1") is request


async def test_just_the_shares_stay_back_that_the_function_says(link_of, tmp_path):
    link, sent, lost = link_of(MODEL), Sent(), lost_of(MODEL, SHARE, "ppn-1")
    assert 0 < len(lost) < len(METERS)
    assert link.given_up(SHARES, "ppn-1") == len(lost)  # before it was ever sent
    await link.say(SHARES, "ppn-1", sent)
    await link.say(SHARES, "ppn-1", sent)  # said again they are lost again, and written down once
    (first, second) = [Envelope.from_bytes(payload) for payload in sent]
    assert first == second
    assert first.shares == {n: share for n, share in SHARES.shares.items() if n not in lost}
    assert {(line["kind"], line["sender"]) for line in written(tmp_path)} == {(SHARE, METERS[n]) for n in lost}
    assert len(written(tmp_path)) == len(lost)
    assert link.figures() == {"lost": len(lost), "masked_lost": 0}


async def test_every_sending_of_a_masked_reading_is_lost_or_not_by_itself(link_of):
    link, sent = link_of(MODEL), Sent()
    for attempt in range(3):
        await link.say(READINGS, "consumer-1", sent)
        lost = lost_of(MODEL, MASKED, "consumer-1", attempt)
        assert MaskedEnvelope.from_bytes(sent[-1]).sealed.keys() == METERS.keys() - lost
        assert link.given_up(READINGS, "consumer-1") == len(lost)
    assert link.figures()["masked_lost"] == len(lost_of(MODEL, MASKED, "consumer-1"))


async def test_what_was_lost_is_counted_once_over_a_restart(link_of):
    first = link_of(MODEL)
    await first.say(SHARES, "ppn-1", Sent())
    await first.say(READINGS, "consumer-1", Sent())
    again = link_of(MODEL)
    assert again.figures() == first.figures()
    await again.say(SHARES, "ppn-1", Sent())
    await again.say(READINGS, "consumer-1", Sent())
    assert again.figures() == first.figures()


async def test_nothing_leaves_of_which_nothing_is_left(link_of):
    link, sent = link_of(LossModel(1, 1.0)), Sent()
    await link.say(SHARES, "ppn-1", sent)
    await link.say(READINGS, "consumer-1", sent)
    assert sent == []


def test_of_a_request_only_what_is_not_lost_is_heard(link_of, tmp_path):
    request = RepairRequest(7, 2, 1, tuple(METERS))
    lost = {n for n, meter in METERS.items() if MODEL.drops(REPAIR, "ppn-1", meter, 7, 1)}
    heard = link_of(MODEL).heard(request, "ppn-1")
    assert heard.numbers == tuple(n for n in METERS if n not in lost)
    assert {(line["kind"], line["receiver"]) for line in written(tmp_path)} == {(REPAIR, METERS[n]) for n in lost}


async def test_the_conductors_later_stages_hold_from_their_round_on(link_of):
    link, sent = link_of(LossModel(), LinkStage(from_round=7, loss_fraction=1.0)), Sent()
    await link.say(SHARES, "ppn-1", sent)
    assert sent == []


async def test_an_envelope_may_go_out_late_and_twice(link_of):
    link, sent = link_of(LossModel(4, delay_most_seconds=0.05, duplicate_fraction=1.0)), Sent()
    await link.say(SHARES, "ppn-1", sent)
    async with asyncio.timeout(60):
        while len(sent) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sent == [SHARES.to_bytes()] * 2
