"""The link between an agent and its MQTT client, as a shell: it follows the conductor's changes and writes down what it loses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.loss import Link, LossModel

#: Lines of {"kind", "sender", "receiver", "round", "attempt"}, one per lost message, in the agent's own directory.
LOG_NAME = "link.jsonl"
_FIELDS = ("kind", "sender", "receiver", "round", "attempt")
_REMEMBERED = 100_000

_Lost = tuple[str, str, str, int, int]


class LossyLink:
    """See the module. stages: what the conductor has said so far (`PaceFollower.link_stages`)."""

    def __init__(self, model: LossModel, stages: Callable[[], tuple[LinkStage, ...]], directory: Path) -> None:
        self._link = Link(model)
        self._stages = stages
        self._heard: tuple[LinkStage, ...] = ()
        self._path = directory / LOG_NAME
        self._logged = _read(self._path)
        self._lost = Counter(kind for kind, *_, attempt in self._logged if attempt == 0)

    @property
    def link(self) -> Link:
        """The function in force."""
        heard = self._stages()
        if heard is not self._heard:
            self._heard = heard
            self._link = self._link.changed(tuple((stage.from_round, stage.model) for stage in heard))
        return self._link

    def drops(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> bool:
        """Whether the link loses this message."""
        return self.link.drops(kind, sender, receiver, round_number, attempt)

    def parts(self, one: str, other: str, round_number: int) -> bool:
        """Whether these two are separated in this round."""
        return self.link.parts(one, other, round_number)

    def delays(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> tuple[float, ...]:
        """After how many seconds each copy of what is not lost goes on its way."""
        return self.link.delays(kind, sender, receiver, round_number, attempt)

    def note(self, kind: str, parties: Iterable[tuple[str, str]], round_number: int, attempt: int) -> None:
        """Write down messages that were lost, each once: (sender, receiver) of each."""
        lost = [(kind, sender, receiver, round_number, attempt) for sender, receiver in parties]
        fresh = [each for each in lost if each not in self._logged]
        if not fresh:
            return
        if len(self._logged) > _REMEMBERED:
            middle = sorted(each[3] for each in self._logged)[len(self._logged) // 2]
            self._logged = {each for each in self._logged if each[3] >= middle}
        self._logged.update(fresh)
        self._lost.update(each[0] for each in fresh if attempt == 0)
        with self._path.open("a", encoding="utf-8") as file:
            for each in fresh:
                file.write(json.dumps(dict(zip(_FIELDS, each, strict=True))) + "\n")

    def lost_at_first(self, kind: str) -> int:
        """How many messages of a kind were written down as lost when they were first sent, before a restart too."""
        return self._lost[kind]


def _read(path: Path) -> set[_Lost]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {tuple(json.loads(line)[field] for field in _FIELDS) for line in lines}
