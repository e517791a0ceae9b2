"""What a person wants to know of a meter's source before it runs: whether it is there, what it says, and what that is worth."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.shell.config import read_token
from hushgrid.shell.plan_store import PlanStore
from hushgrid.shell.transport import Probe
from meter_agent.config import MeterConfig
from meter_agent.finding import Finding, State
from meter_agent.sources import SourceKind
from meter_agent.sources.devices.diagnosis import diagnosis
from meter_agent.sources.files.tables import open_table, read_table, usual_step
from meter_agent.sources.guard import Device, guarded
from meter_agent.sources.rhythm import rhythm
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import SourceSection, TopicSection

#: How long a place may take to answer.
ANSWER_SECONDS = 5.0
#: So many sound samples show how often they come.
_ENOUGH_SAMPLES = 2
_MOST_FAULTS = 20
_WHOLE_KWH = 1000
_HAN_SECONDS = 3600
_SUBJECT = "source"


def planned_interval(config: MeterConfig) -> int | None:
    """How long rounds are, by the newest plan this meter was told; None before any."""
    path = config.agent.state_directory / "plans.sqlite"
    try:
        plans = PlanStore(path, read_only=True).adopted() if path.exists() else []
    except HushgridError:
        return None
    return plans[-1].head.interval_seconds if plans else None


def timing(config: MeterConfig, interval_seconds: int | None) -> Finding:
    """Whether the settings leave a reading the time it needs, and fit each other."""
    tolerance, grace = config.registers.tolerance_seconds, config.pace.grace_seconds
    wrong, outbox = list(_faults_of_a_device(config, interval_seconds)) if config.source.live else [], config.outbox
    if outbox.repeat_seconds >= grace:
        wrong.append(
            f"outbox.repeat_seconds {outbox.repeat_seconds:g}: what is lost is sent again after {grace:g} s, too late"
        )
    if outbox.repeat_most_seconds < outbox.repeat_seconds:
        wrong.append("outbox.repeat_most_seconds is less than outbox.repeat_seconds")
    if wrong:
        return Finding("timing", State.WRONG, "; ".join(wrong))
    text = f"a reading is known {tolerance:.0f} s after its round at the latest, the round freezes after {grace:.0f} s"
    return Finding("timing", State.FINE, text)


def _faults_of_a_device(config: MeterConfig, interval_seconds: int | None) -> list[str]:
    tolerance, grace, source = config.registers.tolerance_seconds, config.pace.grace_seconds, config.source
    found = []
    if tolerance >= grace:
        found.append(
            f"registers.tolerance_seconds {tolerance:g}: a reading may be known {tolerance:g} s after its round, "
            f"and the round freezes after {grace:g} s (pace.grace_seconds)"
        )
    if source.modbus is not None and source.modbus.poll_seconds > tolerance:
        found.append(
            f"source.modbus.poll_seconds {source.modbus.poll_seconds:g} is more than registers.tolerance_seconds {tolerance:g}"
        )
    if interval_seconds is not None and tolerance >= interval_seconds:
        found.append(f"registers.tolerance_seconds {tolerance:g} is no less than a round, {interval_seconds} s")
    if interval_seconds is not None and source.kind is SourceKind.HAN and interval_seconds % _HAN_SECONDS:
        found.append(f"a HAN port tells its registers once an hour, and rounds last {interval_seconds} s")
    return found


async def look(config: MeterConfig, seconds: float, interval_seconds: int | None) -> list[Finding]:
    """What the source says within so many seconds; within 5 s that it is not there."""
    section = config.source
    if section.kind is SourceKind.CONSTRUCTED:
        return [Finding(_SUBJECT, State.NOTE, "constructed, nothing is measured")]
    try:
        if section.kind is SourceKind.CSV:
            return await asyncio.to_thread(look_into_file, section, config.agent.id, interval_seconds)
        from meter_agent.sources.devices.opening import open_device  # noqa: PLC0415 - needs the extra of the kind

        device = open_device(section)
        trouble = await _trouble(device, section)
        if trouble is not None:
            return [Finding(_SUBJECT, State.WRONG, f"{device.label}: {trouble}")]
        heard = await _listen(device, seconds, config.registers.tolerance_seconds)
    except HushgridError as error:
        return [Finding(_SUBJECT, State.WRONG, str(error))]
    if not heard.samples:
        return [Finding(_SUBJECT, State.WRONG, f"{device.label}: {_why_nothing(device, section, heard, seconds)}")]
    return [_worth(device, heard, config.registers.tolerance_seconds, interval_seconds)]


async def _trouble(device: Device, section: SourceSection) -> str | None:
    from meter_agent.sources.devices.opening import port_of  # noqa: PLC0415 - see above

    if section.topic is not None and section.kind is SourceKind.TOPIC:
        return await _trouble_of_broker(section.topic)
    port = port_of(device)
    return None if port is None else await port.trouble(ANSWER_SECONDS)


async def _trouble_of_broker(topic: TopicSection) -> str | None:
    trouble = await Probe(topic.url, None, topic.user, read_token(topic.password_file)).trouble(ANSWER_SECONDS)
    return None if trouble is None else f"its broker: {trouble}"


@dataclass(slots=True, repr=False)
class _Listening:
    """What a device said, when, and until when it was listened to."""

    began_seconds: float
    samples: list[Sample] = field(default_factory=list)
    at_seconds: list[float] = field(default_factory=list)
    doubts: Counter[Doubt] = field(default_factory=Counter)
    last: SampleRefusedError | None = None
    until_seconds: float = 0.0


async def _listen(device: Device, seconds: float, tolerance_seconds: float) -> _Listening:
    """Until it is known how often sound samples come, or for so many seconds."""
    heard = _Listening(time.time())
    deadline, loop = asyncio.get_running_loop().time() + seconds, asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline) as limit, contextlib.aclosing(guarded(device)) as said:
            async for sample in said:
                try:
                    if isinstance(sample, SampleRefusedError):
                        raise sample
                    sample.refuse_implausible()
                except SampleRefusedError as error:
                    heard.doubts[error.doubt] += 1
                    heard.last = error
                    continue
                heard.samples.append(sample)
                heard.at_seconds.append(time.time())
                if len(heard.samples) >= _ENOUGH_SAMPLES:
                    break
                limit.reschedule(min(deadline, loop.time() + tolerance_seconds + 1))
    heard.until_seconds = time.time()
    return heard


def _why_nothing(device: Device, section: SourceSection, heard: _Listening, seconds: float) -> str:
    from meter_agent.sources.devices.opening import port_of  # noqa: PLC0415 - see above

    port = port_of(device)
    said = [] if heard.last is None else [f"{sum(heard.doubts.values())} samples not believed, the last: {heard.last}"]
    if port is not None and section.kind is not SourceKind.MODBUS:
        said.append(diagnosis(section.kind, port.line if port.tcp_address is None else None, port.heard))
    elif port is not None and section.modbus is not None:
        said.append(f"unit {section.modbus.unit} was asked" + (f" at {port.line}" if port.tcp_address is None else ""))
    elif heard.last is None:
        said.append("its broker answers, and nothing was published there" if section.topic else "it said nothing")
    return f"no sound sample within {seconds:g} s; {'; '.join(said)}"


def _worth(device: Device, heard: _Listening, tolerance_seconds: float, interval_seconds: int | None) -> Finding:
    found = rhythm(heard.at_seconds, heard.until_seconds, tolerance_seconds, interval_seconds)
    state = State.FINE if found.enough else State.NOTE if found.enough is None else State.WRONG
    first = heard.at_seconds[0] - heard.began_seconds
    said = [f"{device.label}: a sound sample after {first:.1f} s", found.text]
    if any(sample.device != heard.samples[0].device for sample in heard.samples):
        state = State.WRONG
        said.append("two meters speak")
    if _coarse(heard.samples):
        state = max(state, State.NOTE)
        said.append("it tells whole kWh only (an SML meter: enter its PIN): rounds are 0 or 1000 Wh")
    if heard.doubts:
        state = max(state, State.NOTE)
        said.append(f"{sum(heard.doubts.values())} samples not believed, the last: {heard.last}")
    return Finding(_SUBJECT, state, "; ".join(said))


def _coarse(samples: Sequence[Sample]) -> bool:
    common = math.gcd(*(register for s in samples for register in (s.import_watt_hours, s.export_watt_hours)))
    return common % _WHOLE_KWH == 0


def look_into_file(section: SourceSection, agent: str, interval_seconds: int | None) -> list[Finding]:
    """A csv source, read to its end: all that is wrong with it. interval_seconds: None, and its own step is taken."""
    if section.path is None:
        return [Finding(_SUBJECT, State.WRONG, "source.path is missing")]
    meter, said, faults = section.meter or agent, section.described, list[str]()
    rounds: Mapping[int, int | None] = {}
    try:
        kind = open_table(section.path, said)
        interval = interval_seconds or usual_step(section.path, said, meter)
        tables = read_table(section.path, said, [meter], None, None, interval, lambda fault: faults.append(str(fault)))
        rounds = tables[meter].watt_hours
    except ConfigurationError as error:
        faults.append(str(error))
    if faults:
        more = [f"{section.path}: {len(faults) - _MOST_FAULTS} faults more"] if len(faults) > _MOST_FAULTS else []
        return [Finding(_SUBJECT, State.WRONG, fault) for fault in (*faults[:_MOST_FAULTS], *more)]
    readings = sum(watt_hours is not None for watt_hours in rounds.values())
    text = f"{section.path}: {kind}, meter {meter}, {readings} readings of {interval} s"
    return [Finding(_SUBJECT, State.FINE if readings else State.WRONG, text)]
