"""What `hushgrid experiment pricing` prints of the village."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.pricing.village import ACCEPTANCE, MINIMUM, DevicesPlaced, PeakState, PricedError, ToldOfHomes
from hushgrid.tables import Sheet, numbers, words


def priced_sheet(rows: Sequence[PricedError], slots: int) -> Sheet:
    """Cost against state error."""
    out = Sheet(
        f"What is bought on the village, and the error of the state over {slots} half hours",
        [
            *words("bought"),
            *numbers("loads", "devices", "epsilon", "cost", "voltage error", "loading error", "homes in a sum"),
        ],
        f"model money; offers at what {ACCEPTANCE:.0%} of homes accept; errors: means over slots of the largest of any node or branch; "
        f"homes in a sum: fewest of a sum that is told exactly, groups having {MINIMUM} at least; exact sums have no epsilon, and are "
        "shown at the prices of the noisy ones",
    )
    for row in rows:
        out.add(
            row.channel, f"x{row.load_factor:g}", str(row.devices), "-" if row.epsilon is None else f"{row.epsilon:g}",
            f"{row.cost:,.0f}", f"{row.voltage_error_per_unit:.3%}", f"{row.loading_error_fraction:.2%}",
            "-" if row.told_homes is None else str(row.told_homes),
        )  # fmt: skip
    return out


def placed_sheet(rows: Sequence[DevicesPlaced]) -> Sheet:
    """Devices for a target."""
    out = Sheet(
        "Where devices go: the fewest for a target, beside the meter at the head",
        numbers("loads", "target", "minimum", "greedy", "exact", "error", "homes in a sum"),
        "minimum: homes whose sum may be told; error: largest 95 % half width of a voltage or loading, in units of the target; "
        "exact: of the exact search where few branches may have a device, - where many may; no: the target is out of reach",
    )
    for row in rows:
        reached = str(len(row.devices)) if row.reached else f"no ({len(row.devices)})"
        exact = "-" if row.exact_devices is None else str(row.exact_devices) if row.reached else "no"
        out.add(
            f"x{row.load_factor:g}", f"{row.target:.0%}", str(row.minimum), reached, exact, f"{row.error:.2f}",
            str(row.fewest_homes),
        )  # fmt: skip
    return out


def told_sheet(rows: Sequence[ToldOfHomes]) -> Sheet:
    """What devices tell of a home."""
    out = Sheet(
        "What devices tell of one home: the standard deviation of its watts",
        [*words("devices"), *numbers("loads", "homes in a sum", "before", "after", "epsilon")],
        "the home that is assumed to within most; homes in a sum: fewest of a sum that the devices tell; epsilon: of the noisy reading "
        "that would tell as much",
    )
    for row in rows:
        out.add(
            row.devices, f"x{row.load_factor:g}", str(row.fewest_homes), f"{row.assumed_watts:,.0f} W", f"{row.left_watts:,.0f} W",
            f"{row.epsilon:,.1f}",
        )  # fmt: skip
    return out


def peak_line(state: PeakState) -> str:
    """Fig. 7 in a sentence, and the paper's claim about it."""
    return (
        f"Fig. 7, loads x{state.load_factor:g}, noise {state.noise}: half hour {state.slot}, one device at {state.device}, "
        f"{state.accepted} of {state.loads} homes accept; lowest voltage {state.voltage.min():.4f}, estimated "
        f"{state.estimated_voltage.min():.4f}; highest loading {state.loading.max():.1%}, estimated {state.estimated_loading.max():.1%}; "
        f"the largest voltage error is at a home's node in {state.largest_at_load} of {state.slots} half hours; on average it is "
        f"{state.error_at_loads:.4%} at the {state.loads} such nodes, {state.error_elsewhere:.4%} at the {state.nodes - state.loads} others"
    )
