"""A desk on disk: a list of homes with meters' keys, a consumer's results as a file, a store, an audit log, consents."""

from __future__ import annotations

import json
from pathlib import Path

from hushgrid.core.sealing import Identity
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.statements.lines import line_of
from hushgrid.statements.statement import EVERYBODY, Statement
from hushgrid.wire.purpose import Purpose
from privacy_gateway.audit.log_file import AuditLog, lines_of
from privacy_gateway.consent.store import HeardConsents
from privacy_gateway.desk.gateway_desk import GatewayDesk
from privacy_gateway.desk.home_list import HomeList
from privacy_gateway.desk.results_file import ResultsFile
from privacy_gateway.people.clients import Client
from privacy_gateway.people.scopes import read_scope
from privacy_gateway.store.gateway_store import GatewayStore
from support.gateway import HOMES, POLICY, SETTLED, Silent, reading

GRID, GATEWAY, NOW, HOUR = "hushgrid", "gateway-1", 1_800_000_000, 3600
KEYS = {home: Identity.from_bytes(bytes([at + 1]) * 32) for at, home in enumerate(HOMES)}
#: Cohorts by rule: everybody, the first six, the others, all but one.
RULES = {"all": HOMES, "west": HOMES[:6], "east": HOMES[6:], "but-one": HOMES[:-1]}


def row(rule: str, first: int, until: int, **changed: object) -> dict[str, object]:
    """A line of results.jsonl, as a consumer writes it."""
    homes, rounds = RULES[rule], range(first, until)
    pairs = len(homes) * len(rounds)
    return {
        "rule": rule, "number": list(RULES).index(rule) + 1, "start_utc": "", "first_round": first, "last_round": until - 1,
        "status": "released", "watt_hours": sum(reading(home, at) for home in homes for at in rounds), "expected": pairs,
        "included": pairs, "gaps": 0, "lost": 0, "inconsistent": 0, "meters": len(homes), "points": [1], "wrong_points": [],
        "detects": 0, "repaired": 0, "reason": "", **changed,
    }  # fmt: skip


def write_results(path: Path) -> None:
    """Every rule, every round of a day."""
    rows = [row(rule, at, at + 1) for rule in RULES for at in range(SETTLED)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def write_homes(path: Path) -> None:
    """Of all homes."""
    path.write_text("".join(f"{home} {key.public.hex()}\n" for home, key in KEYS.items()))


def consent_line(home: str, number: int, act: ConsentAct, purpose: Purpose = Purpose.RESEARCH) -> bytes:
    """As the household hands it over."""
    body = Consent(grid=GRID, number=number, purpose=purpose, act=act, at_seconds=NOW)
    return line_of(Statement(sender=home, recipient=EVERYBODY, sequence=number, body=body).to_bytes(KEYS[home]))


def client(name: str = "lab", scope: str = "Purpose=research_operations") -> Client:
    return Client(name, read_scope(scope))


def desk_at(folder: Path, *, url: str | None = None, audit: str = "audit.log", policy=POLICY) -> GatewayDesk:
    """Opened, with what the consumer has written taken in."""
    if not (folder / "results.jsonl").exists():
        write_results(folder / "results.jsonl")
    identities = {home: key.public for home, key in KEYS.items()}
    desk = GatewayDesk(
        home_list=HomeList(identities), store=GatewayStore(url or f"sqlite:///{folder}/gateway.sqlite"),
        consents=HeardConsents(folder / "consents.sqlite", grid=GRID, identities=identities),
        audit=AuditLog(folder / audit, at_seconds=NOW), policy=policy, interval_seconds=HOUR, sampler=Silent(),
        source=ResultsFile(folder / "results.jsonl", RULES), now=lambda: NOW,
    )  # fmt: skip
    desk.take_in()
    return desk


def close(desk: GatewayDesk) -> None:
    desk.store.close()
    desk.consents.close()
    desk.audit.close()


def logged(path: Path) -> list[dict[str, object]]:
    """The entries of an audit log."""
    with path.open("rb") as file:
        return [json.loads(line)["entry"] for line in lines_of(file)]
