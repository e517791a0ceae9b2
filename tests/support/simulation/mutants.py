"""The system with one thing wrong. Each mutant is a function of the real modules with one line changed, or replaced by hand."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from pytest import MonkeyPatch  # noqa: PT013  # a type, not a fixture

from configurator.audit import withholding
from configurator.rounds import decisions, releases
from configurator.rounds.decisions import Decisions, Told
from consumer_node.shares import collection
from hushgrid.core import minimum as core_minimum
from hushgrid.core import sealing, shamir
from hushgrid.core.decoding import Decoded, decode
from hushgrid.core.field import Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.plan import minimum as plan_minimum
from hushgrid.shell.database import Database
from hushgrid.statements import rounds as statements
from hushgrid.statements.rounds import RosterPage, check_certificate
from ppn_node import aggregation, rounds
from ppn_node.intake import Admission, Intake
from ppn_node.rounds import Rounds
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal
from ppn_node.shares.values import HeldShare, StoredShare

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


def _decisions(patch: MonkeyPatch, name: str, old: str, new: str) -> None:
    patch.setattr(Decisions, name, rewritten(getattr(Decisions, name), decisions, old, new))


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
    patch.setattr(Rounds, "takes", lambda _self, _round_number, _number: Admission.TAKEN)


def count_duplicates(patch: MonkeyPatch) -> None:
    """A share that comes again is added again."""
    keep, admit = Rounds.keep, Intake._admit

    def admit_all(self: Intake, share: StoredShare) -> Admission:
        found = admit(self, share)
        if found is Admission.KNOWN:
            self._batch[share.round, share.number] = share
        return found

    def keep_all(self: Rounds, shares: Sequence[StoredShare]) -> None:
        before = {(s.round, s.number): self.held(s.round).get(s.number) for s in shares}
        keep(self, shares)
        for share in shares:
            store = self._store
            if before[share.round, share.number] is not None and isinstance(store, Here):
                elements = store._elements_of(share.round)
                once = elements[share.number]
                elements[share.number] = once and tuple(2 * element for element in once)

    patch.setattr(Intake, "_admit", admit_all)
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

    def in_memory(self: Rounds, shares: Sequence[StoredShare]) -> None:
        for share in shares:
            self.held(share.round).setdefault(share.number, HeldShare(share.sharing_id, share.gap, share.attempt))

    patch.setattr(Rounds, "keep", in_memory)


def no_minimum(patch: MonkeyPatch) -> None:
    """Nobody looks at the number of contributors."""
    patch.setattr(aggregation, "below_floor", lambda *_args, **_counts: WithheldReason.NONE)
    decide_without_a_minimum(patch)
    release_what_conspires(patch)


def release_without_a_certificate(patch: MonkeyPatch) -> None:
    """A PPN releases what it has countersigned."""
    _method(patch, "_certified", "record.certificate is not None", "record.countersignature is not None")


def no_coverage_floor(patch: MonkeyPatch) -> None:
    """Nobody looks at the part of the cohort that is in."""
    old = "return WithheldReason.BELOW_COVERAGE"
    blind = rewritten(core_minimum.reason_to_withhold, core_minimum, old, "pass")
    for module in (plan_minimum, withholding):
        patch.setattr(module, "reason_to_withhold", blind)


def believe_any_decision(patch: MonkeyPatch) -> None:
    """A PPN does not look who signed a decision."""
    patch.setattr(rounds, "verify", lambda *_args: None)


def believe_any_leave(patch: MonkeyPatch) -> None:
    """A PPN does not look who countersigned."""
    patch.setattr(sealing, "verify", lambda *_args: None)


def leave_of_one(patch: MonkeyPatch) -> None:
    """One countersignature is leave to release."""
    old = "or 2 * len(points) <= len(head.ppns)"
    patch.setattr(rounds, "check_certificate", rewritten(check_certificate, statements, old, ""))


def believe_the_first_shares(patch: MonkeyPatch) -> None:
    """The consumer recovers from t aggregate shares and does not look whether the others fit."""

    def first(shares: Mapping[int, Sequence[int]], threshold: int, field: Field) -> Decoded:
        return decode(dict(sorted(shares.items())[:threshold]), threshold, field)

    patch.setattr(collection, "decode", first)


def decide_without_a_minimum(patch: MonkeyPatch) -> None:
    """The configurator does not look at the number of contributors; PPNs still do."""
    patch.setattr(releases, "too_few", lambda *_args: WithheldReason.NONE)
    patch.setattr(withholding, "reason_to_withhold", lambda **_counts: WithheldReason.NONE)


def release_what_conspires(patch: MonkeyPatch) -> None:
    """The configurator looks at every window by itself."""
    patch.setattr(releases, "withhold", lambda *_args: {})


def forget_what_is_out(patch: MonkeyPatch) -> None:
    """The configurator looks at what it releases now, and not at what was released with earlier decisions."""
    patch.setattr(Decisions, "_released_at", lambda *_args: [])


def drop_a_withheld_window(patch: MonkeyPatch) -> None:
    """The first window that is to be withheld is not in the decision."""
    _decisions(patch, "_decide", "pages, withheld,", "pages, withheld[1:],")


def decide_on_a_minority(patch: MonkeyPatch) -> None:
    """Whoever has sent a roster is enough once patience is over."""
    _decisions(patch, "_ripe", "2 * len(there) > len(head.ppns)", "there")


def decide_again_with_a_late_roster(patch: MonkeyPatch) -> None:
    """A roster that comes after the decision makes another one."""
    hear = Decisions.hear_roster

    def hear_anew(self: Decisions, sender: str, body: RosterPage, now_seconds: float) -> list[Told]:
        store = self._registry.decisions
        stored = store.find(body.round)
        if stored is not None and body.point not in stored.core.punctual:
            core = stored.core.model_copy(update={"punctual": (*sorted({*stored.core.punctual, body.point}),)})
            store.forget_decision(body.round)
            store.add(core, self._identity.sign("decision", core.to_json()), stored.pages)
        return hear(self, sender, body, now_seconds)

    patch.setattr(Decisions, "hear_roster", hear_anew)


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
        decide_without_a_minimum,
        release_what_conspires,
        forget_what_is_out,
        drop_a_withheld_window,
        decide_on_a_minority,
        decide_again_with_a_late_roster,
    )
}
