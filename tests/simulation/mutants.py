"""The system with one thing wrong. Each mutant is a function of the real modules with one line changed, or replaced by hand."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from pytest import MonkeyPatch  # noqa: PT013  # a type, not a fixture

from configurator import decision
from consumer_node import collection
from hushgrid import control, sealing, shamir
from hushgrid.database import Database
from hushgrid.decoding import Decoded, decode
from hushgrid.field import Field
from hushgrid.messages import WithheldReason
from ppn_node import aggregation, rounds
from ppn_node.admission import AdmittedShare
from ppn_node.aggregation import HeldShare
from ppn_node.journal import Journal
from ppn_node.rounds import Rounds

Mutant = Callable[[MonkeyPatch], None]


def rewritten(function: Callable[..., object], module: ModuleType, old: str, new: str) -> Callable[..., object]:
    """The function with one piece of its source replaced; ValueError unless the piece is there once."""
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise ValueError(f"{old!r} is in {function.__qualname__} {source.count(old)} times: the mutant is out of date")
    space: dict[str, object] = {}
    code = compile(
        "from __future__ import annotations\n" + source.replace(old, new),
        f"<mutant of {function.__qualname__}>",
        "exec",
    )
    exec(code, dict(vars(module)), space)  # noqa: S102  # that is what a mutant is
    made = space[function.__name__]
    if not callable(made):
        raise TypeError(function.__qualname__)
    return made


def _method(patch: MonkeyPatch, name: str, old: str, new: str) -> None:
    patch.setattr(Rounds, name, rewritten(getattr(Rounds, name), rounds, old, new))


def skip_the_digest_check_at_the_consumer(patch: MonkeyPatch) -> None:
    """Aggregate shares of different contributor sets are combined."""
    patch.setattr(
        collection,
        "_agreeing",
        rewritten(collection._agreeing, collection, "(text.digest, text.reason, *_counts(text))", "()"),
    )


def skip_the_digest_check_at_the_ppn(patch: MonkeyPatch) -> None:
    """A PPN releases on the certificate of another decision than its own."""
    _method(patch, "hear_certificate", "record.countersignature.digest != certificate.digest", "False")


def countersign_a_second_decision(patch: MonkeyPatch) -> None:
    """A PPN stands by whatever decision comes last."""
    _method(patch, "hear_decision", "if record.countersignature is not None:", "if False:")


def allow_a_second_release(patch: MonkeyPatch) -> None:
    """A (rule, window) is released whenever it is complete."""
    patch.setattr(Journal, "released", lambda *_place: False)
    execute = Database.execute
    patch.setattr(
        Database,
        "execute",
        lambda self, statement, *values: execute(
            self, statement.replace("INSERT INTO release", "INSERT OR REPLACE INTO release"), *values
        ),
    )


def accept_late_shares(patch: MonkeyPatch) -> None:
    """A share is taken in whenever it comes."""
    patch.setattr(Rounds, "takes", lambda _self, _round_number, _number: True)


def count_duplicates(patch: MonkeyPatch) -> None:
    """A share that comes again is added again."""
    keep = Rounds.keep

    def keep_all(self: Rounds, shares: list[AdmittedShare], version_of: Callable[[int], int]) -> None:
        before = {(s.round, s.number): self.held(s.round).get(s.number) for s in shares}
        keep(self, shares, version_of)
        for share in shares:
            held = before[share.round, share.number]
            if held is not None and held.elements is not None and share.elements is not None:
                twice = tuple(a + b for a, b in zip(held.elements, share.elements, strict=True))
                self.held(share.round)[share.number] = HeldShare(share.sharing_id, twice, share.attempt)

    patch.setattr(Rounds, "keep", keep_all)


def one_coefficient_too_few(patch: MonkeyPatch) -> None:
    """The polynomial has degree t - 2: one share less gives the secret."""
    patch.setattr(shamir, "split", rewritten(shamir.split, shamir, "range(threshold - 1)", "range(threshold - 2)"))


def sum_what_is_there(patch: MonkeyPatch) -> None:
    """A PPN that lacks an included share leaves it out and says nothing."""
    changed = rewritten(aggregation.aggregate, aggregation, "complete = False\n", "pass\n")
    init = Rounds.__init__
    patch.setattr(Rounds, "__init__", lambda *args, **kwargs: init(*args, **kwargs | {"add": changed}))


def receipt_before_disk(patch: MonkeyPatch) -> None:
    """A share is receipted while it is in memory only."""

    def in_memory(self: Rounds, shares: list[AdmittedShare], _version_of: Callable[[int], int]) -> None:
        for share in shares:
            self.held(share.round).setdefault(share.number, HeldShare(share.sharing_id, share.elements, share.attempt))

    patch.setattr(Rounds, "keep", in_memory)


def no_minimum(patch: MonkeyPatch) -> None:
    """Nobody looks at the number of contributors."""
    patch.setattr(aggregation, "below_floor", lambda *_args, **_counts: WithheldReason.NONE)
    patch.setattr(decision, "too_few", lambda *_args: WithheldReason.NONE)


def release_without_a_certificate(patch: MonkeyPatch) -> None:
    """A PPN releases what it has countersigned."""
    _method(patch, "_certified", "record.certificate is not None", "record.countersignature is not None")


def no_coverage_floor(patch: MonkeyPatch) -> None:
    """Nobody looks at the part of the cohort that is in."""
    for module, function in ((aggregation, aggregation.below_floor), (decision, decision.too_few)):
        old = "return WithheldReason.BELOW_COVERAGE"
        patch.setattr(module, function.__name__, rewritten(function, module, old, "pass"))


def believe_any_decision(patch: MonkeyPatch) -> None:
    """A PPN does not look who signed a decision."""
    patch.setattr(rounds, "verify", lambda *_args: None)


def believe_any_leave(patch: MonkeyPatch) -> None:
    """A PPN does not look who countersigned."""
    patch.setattr(sealing, "verify", lambda *_args: None)


def leave_of_one(patch: MonkeyPatch) -> None:
    """One countersignature is leave to release."""
    old = "or 2 * len(points) <= len(head.ppns)"
    patch.setattr(rounds, "check_certificate", rewritten(control.check_certificate, control, old, ""))


def believe_the_first_shares(patch: MonkeyPatch) -> None:
    """The consumer recovers from t aggregate shares and does not look whether the others fit."""

    def first(shares: Mapping[int, Sequence[int]], threshold: int, field: Field) -> Decoded:
        return decode(dict(sorted(shares.items())[:threshold]), threshold, field)

    patch.setattr(collection, "decode", first)


MUTANTS: dict[str, Mutant] = {
    found.__name__: found
    for found in (
        skip_the_digest_check_at_the_consumer,
        skip_the_digest_check_at_the_ppn,
        countersign_a_second_decision,
        allow_a_second_release,
        accept_late_shares,
        count_duplicates,
        one_coefficient_too_few,
        sum_what_is_there,
        receipt_before_disk,
        no_minimum,
        release_without_a_certificate,
        no_coverage_floor,
        believe_any_decision,
        believe_any_leave,
        leave_of_one,
        believe_the_first_shares,
    )
}
