"""Exports of portals that are known by their columns. Another one is read by saying its columns (`exports.Layout`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.csv_rows import Rows
from meter_agent.sources.files.exports import HEADER_ROWS, Layout, folded
from meter_agent.sources.files.meanings import Label, Quantity

LAYOUTS = (
    Layout("Octopus Energy, Great Britain", ("Start",), "Consumption (kwh)"),
    Layout(
        "Low Carbon London as on Kaggle", ("tstp",), "energy(kWh/hh)", meter="LCLid", label=Label.END, step_seconds=1800
    ),
    Layout("n3rgy, Great Britain", ("timestamp (UTC)",), "energyConsumption (kWh)", formats=("%Y-%m-%d %H:%M",)),
    Layout(
        "Datadis, Spain", ("fecha", "hora"), "consumo_kWh", meter="cups", label=Label.END, zone="Europe/Madrid",
        formats=("%Y/%m/%d %H:%M",), delimiter=";", decimal_comma=True, step_seconds=3600,
    ),
    Layout(
        "Fluvius, Belgium", ("Van (datum)", "Van (tijdstip)"), "Volume", meter="EAN-code", zone="Europe/Brussels",
        formats=("%d-%m-%Y %H:%M:%S",), delimiter=";", decimal_comma=True,
        direction=("Register", (("afname dag", 1), ("afname nacht", 1), ("injectie dag", -1), ("injectie nacht", -1))),
        unit_column="Eenheid",
    ),
    Layout(
        "Eloverblik, Denmark", ("Fra_dato",), "Mængde", meter="MålepunktsID", zone="Europe/Copenhagen",
        formats=("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M"), delimiter=";", decimal_comma=True, unit_column="Måleenhed",
    ),
    Layout(
        "Fingrid Datahub, Finland", ("Start Time",), "Quantity", meter="MeteringPointGSRN", delimiter=";",
        decimal_comma=True, direction=("Reading Type", (("bn01", 1),)), unit_column="Unit Type",
    ),
    Layout(
        "Wiener Netze, Austria", ("Datum", "Zeit von"), "Verbrauch [kWh]", zone="Europe/Vienna",
        formats=("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M"), delimiter=";", decimal_comma=True,
    ),
    Layout(
        "Enedis, France", ("Horodate",), "Valeur", unit="W", quantity=Quantity.POWER, label=Label.END, delimiter=";",
        zone="Europe/Paris",
    ),
    Layout(
        "PG&E, California", ("DATE", "START TIME"), "USAGE (kWh)", zone="America/Los_Angeles",
        formats=("%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M"), direction=("TYPE", (("electric usage", 1),)),
    ),
)  # fmt: skip


def recognised(path: Path) -> Layout:
    """The layout whose columns the file has; ConfigurationError naming those that are known."""
    for layout in LAYOUTS:
        wanted = {folded(name) for name in layout.columns}
        try:
            with Rows(path, delimiter=layout.delimiter, encoding=layout.encoding) as rows:
                for _, row in zip(range(HEADER_ROWS), rows, strict=False):
                    if wanted <= {folded(cell) for cell in row}:
                        return layout
        except ConfigurationError:
            if not path.is_file():
                raise
    known = "; ".join(layout.name for layout in LAYOUTS)
    raise ConfigurationError(f"{path}: the columns of no known portal ({known}): say which columns hold what")


def described(path: Path, said: Mapping[str, Any]) -> Layout:
    """The layout that a person describes, by the names of `Layout`'s fields: whole, or what differs from a known portal's.

    ConfigurationError when half of it is said, or when no portal is known that it could differ from.
    """
    if "time" in said and "energy" in said:
        return Layout("the columns named", **said)
    if "time" in said or "energy" in said:
        raise ConfigurationError("the columns of time and energy belong together: both are named, or none")
    return replace(recognised(path), **said)
