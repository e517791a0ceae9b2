"""Who asks: scopes as they are written, tokens, buckets, an issuer outside."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from hushgrid.errors import ConfigurationError
from hushgrid.wire.purpose import Purpose
from privacy_gateway.people.buckets import Buckets
from privacy_gateway.people.outside_issuer import OutsideIssuer
from privacy_gateway.people.scopes import AskingScope, GrantedScope, ScopeWord, bounded, narrowed, read_scope
from privacy_gateway.people.tokens import Bearer, Holder, TokenIssuer, TokenRefusedError

NOW = 1_800_000_000
FULL = "Purpose=research_statistics;GroupMin=200;Epsilon=0.5;IntervalDuration=86400;HistoryLength=31536000"

maybe = st.none() | st.integers(1, 10**9)
askings = st.builds(
    AskingScope, st.sets(st.sampled_from(Purpose), min_size=1).map(frozenset), maybe, maybe, maybe, maybe
)  # fmt: skip
scopes = st.builds(GrantedScope, st.none() | askings, st.sets(st.sampled_from(ScopeWord)).map(frozenset))


@given(scopes)
def test_a_scope_is_read_as_it_is_written(scope):
    assert read_scope(str(scope)) == scope


@given(scopes, scopes)
def test_what_is_wanted_is_never_more_than_what_was_granted(granted, wanted):
    given_ = narrowed(granted, wanted)
    if given_ is None:
        return
    assert given_.words <= granted.words
    if given_.asking is not None:
        assert granted.asking is not None
        assert bounded([given_.asking, granted.asking]) == given_.asking


def test_a_full_scope_is_what_it_says():
    scope = read_scope(f"ledger {FULL}").asking
    assert scope == AskingScope(frozenset({Purpose.RESEARCH, Purpose.STATISTICS}), 200, 500_000, 86_400, 31_536_000)


@pytest.mark.parametrize(
    "text",
    ["Purpose=", "Purpose=research;Purpose=research", f"{FULL} {FULL}", "GroupMin=1", "Purpose=research;GroupMin=-1", "x" * 3000,
     "Purpose=research;GroupMin=٣", "Purpose=research;Epsilon=NaN", "Purpose=research;Epsilon=Infinity", "Purpose=research;Epsilon=0",
     "Purpose=research;Epsilon=0.0000001", "Purpose=research;Other=1", "every"],
)  # fmt: skip
def test_a_scope_that_is_not_understood_is_refused(text):
    with pytest.raises(ConfigurationError):
        read_scope(text)


@pytest.fixture
def issuer():
    return TokenIssuer(b"k" * 32, gateway="g", grid="v", lifetime_seconds=60)


def test_a_token_is_believed_until_it_has_run_out_here_only(issuer):
    bearer = Bearer(Holder.CLIENT, "lab", read_scope(FULL))
    token = issuer.give(bearer, NOW)
    assert issuer.believe(token, NOW) == issuer.believe(token, NOW + 59) == bearer
    others = [
        TokenIssuer(b"x" * 32, gateway="g", grid="v", lifetime_seconds=60),
        TokenIssuer(b"k" * 32, gateway="h", grid="v", lifetime_seconds=60),
        TokenIssuer(b"k" * 32, gateway="g", grid="w", lifetime_seconds=60),
    ]  # fmt: skip
    for other, at in [*((other, NOW) for other in others), (issuer, NOW + 60), (issuer, NOW - 61)]:
        with pytest.raises(TokenRefusedError):
            other.believe(token, at)


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "x" * 10_000, jwt.encode({"sub": "lab"}, None, algorithm="none")])
def test_what_is_no_token_is_refused(issuer, token):
    with pytest.raises(TokenRefusedError):
        issuer.believe(token, NOW)


def test_a_bucket_fills_evenly_and_others_are_not_touched():
    buckets = Buckets(per_minute=60, burst=2)
    assert [buckets.take("one", 0.0) for _ in range(3)] == [None, None, 1]
    assert buckets.take("other", 0.0) is None
    assert buckets.take("one", 0.5) == 1
    assert buckets.take("one", 1.0) is None
    assert [buckets.take("one", 1000.0) for _ in range(3)] == [None, None, 1]


def test_no_more_buckets_are_kept_than_may_be():
    buckets = Buckets(per_minute=1, burst=1, most=2)
    assert [buckets.take(key, 0.0) for key in "abca"] == [None] * 4
    assert buckets.take("c", 0.0) == 60


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CLAIMS = {"iss": "https://issuer", "aud": "gateway", "azp": "lab", "exp": NOW + 60, "scope": "openid Purpose=research"}


@pytest.fixture
def outside(tmp_path):
    key = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "one", "alg": "ES256"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key]}))
    return OutsideIssuer("https://issuer", "gateway", tmp_path / "keys.json")


def signed(key=KEY, kid="one", **changed) -> str:
    return jwt.encode(CLAIMS | changed, key, algorithm="ES256", headers={"kid": kid})


def test_a_token_from_outside_names_a_client_and_its_scope(outside):
    assert outside.gave(signed())
    assert outside.believe(signed(), NOW) == ("lab", read_scope("Purpose=research"))
    assert outside.believe(signed(scope="openid profile"), NOW) == ("lab", None)
    assert not outside.gave(signed(iss="https://elsewhere"))
    assert not outside.gave("x.y.z")


@pytest.mark.parametrize(
    "token",
    [signed(OTHER), signed(kid="two"), signed(aud="elsewhere"), signed(exp=NOW), signed(nbf=NOW + 1), signed(exp="x"), signed(nbf="x"),
     signed(scope="Purpose=gossip"), jwt.encode(CLAIMS, "k" * 32, algorithm="HS256", headers={"kid": "one"}), "x.y.z", "é"],
)  # fmt: skip
def test_a_token_that_the_issuer_did_not_give_is_refused(outside, token):
    with pytest.raises(TokenRefusedError):
        outside.believe(token, NOW)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}']
)
def test_keys_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"keys\.json"):
        OutsideIssuer("https://issuer", "gateway", tmp_path / "keys.json")
