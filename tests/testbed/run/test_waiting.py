"""What a person is told while a run waits."""

from __future__ import annotations

import pytest

from testbed.run.waiting import FIRST_WORD_SECONDS, NEXT_WORD_SECONDS, Words, names_of, round_in_words


@pytest.fixture
def said() -> list[str]:
    return []


def test_the_first_word_comes_within_five_seconds_and_the_next_after_longer(said: list[str]) -> None:
    words = Words(said.append, list)
    for second in range(60):
        words.waiting(100.0 + second, 100.0, lambda: "the results")
    assert FIRST_WORD_SECONDS < 5
    assert said[0] == "waiting for the results, 4 s now"
    assert len(said) == 1 + int((59 - FIRST_WORD_SECONDS) // NEXT_WORD_SECONDS)


def test_what_moves_on_is_not_spoken_of(said: list[str]) -> None:
    words = Words(said.append, list)
    for second in range(60):
        words.waiting(float(second), float(second - second % 4), lambda: "the results")
    words.moving()
    assert said == []


def test_a_wait_after_one_that_was_told_is_told_again(said: list[str]) -> None:
    words = Words(said.append, list)
    words.waiting(5.0, 0.0, lambda: "one")
    words.waiting(6.0, 5.5, lambda: "two")
    words.waiting(10.0, 5.5, lambda: "two")
    assert said == ["waiting for one, 5 s now", "waiting for two, 4 s now"]


def test_who_is_gone_is_named(said: list[str]) -> None:
    words = Words(said.append, lambda: ["broker (ended with status -9)", "ppn-2 (stopped)"])
    words.waiting(5.0, 0.0, lambda: "the broker to take the pace")
    assert said == [
        "waiting for the broker to take the pace; gone: broker (ended with status -9), ppn-2 (stopped), 5 s now"
    ]


def test_many_are_counted() -> None:
    assert names_of(["a", "b"]) == "a, b"
    assert names_of(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert names_of([]) == ""


@pytest.mark.parametrize(
    ("number", "interval", "words"),
    [
        (1362960000 // 1800, 1800, "round 1 of 8 (2013-03-11 00:00 to 00:30 UTC)"),
        (1362960000 // 1800 + 47, 1800, "round 48 of 8 (2013-03-11 23:30 to 00:00 UTC)"),
        (1362960000 // 86400, 86400, "round 1 of 8 (2013-03-11 00:00 to 00:00 UTC)"),
        (1362960000 // 7200 + 11, 7200, "round 12 of 8 (2013-03-11 22:00 to 00:00 UTC)"),
    ],
)
def test_a_round_is_named_by_its_place_and_its_time(number: int, interval: int, words: str) -> None:
    assert round_in_words(number, 1362960000 // interval, 8, interval) == words
