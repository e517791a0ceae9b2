"""A whole grid whose consumer keeps its results in PostgreSQL, where a privacy gateway reads them."""

from __future__ import annotations

import pytest
from support.gateway.postgresql import PostgreSQLServer
from support.village import FIRST, GRID, METERS, ROUNDS, Village, play

from hushgrid.testing.memory_broker import MemoryBroker
from privacy_gateway.intake.consumer_sums import ConsumerSums
from privacy_gateway.questions.recovered import RoundSpan
from privacy_gateway.store.gateway_store import GatewayStore


@pytest.mark.system
async def test_sums_go_from_meters_to_the_gateway_exactly(tmp_path, postgresql: PostgreSQLServer):
    village = Village(tmp_path, MemoryBroker())
    village.results_url = postgresql.fresh()
    await play(village)
    assert not (tmp_path / "consumer" / "results.sqlite").exists()
    store = GatewayStore(postgresql.fresh())
    intake = ConsumerSums(village.results_url, GRID, "consumer")
    homes, unclear = intake.cohorts(village.meters)
    assert unclear == []
    found = intake.take_into(store, homes)
    assert (found.settled_before, found.refused) == (FIRST + ROUNDS, ())
    kept = store.sums_within(RoundSpan(FIRST, FIRST + ROUNDS))
    assert len(kept) == len(village.results()) == ROUNDS + ROUNDS // 2
    for each in kept:
        assert each.watt_hours == village.truth(each.span.first, each.span.until - 1)
        assert (len(each.cohort), each.contributors, each.included) == (METERS, METERS, METERS * each.span.rounds)
    for opened in (intake, store):
        opened.close()
