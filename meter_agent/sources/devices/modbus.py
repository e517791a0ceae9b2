"""A Modbus meter of the Eastron class (SDM120, SDM630), on RS-485 or TCP. The protocol is pymodbus's.

Both families keep import and export, in kWh, as two 32-bit floats beside each other from input register 72: one request reads
both, so that they belong together.
"""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from meter_agent.sources.devices.byte_stream import Port
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError, whole_watt_hours
from meter_agent.sources.sections import ModbusSection

_FIRST_REGISTER, _REGISTERS = 72, 4
_ANSWER_SECONDS = 2.0
# Its debug lines hold what the meter says; its errors are told below.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


def registers_of(words: Sequence[int]) -> Sample:
    """Import and export, in kWh, two words each; SampleRefusedError."""
    said = struct.unpack(">ff", struct.pack(f">{_REGISTERS}H", *words))
    if not all(math.isfinite(kilowatt_hours) for kilowatt_hours in said):
        raise SampleRefusedError(Doubt.MALFORMED, "a register is no number")
    imported, exported = (whole_watt_hours(Decimal(kilowatt_hours)) for kilowatt_hours in said)
    return Sample(imported, exported)


class ModbusDevice:
    """See the module."""

    def __init__(self, port: Port, section: ModbusSection) -> None:
        self.label = f"Modbus {section.profile.value} at {port.place}"
        self._section = section
        self.port = port

    def _client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        address, line = self.port.tcp_address, self.port.line
        if address is not None:
            return AsyncModbusTcpClient(
                address[0], port=address[1], timeout=_ANSWER_SECONDS, retries=1, reconnect_delay=0
            )
        return AsyncModbusSerialClient(
            self.port.place,
            baudrate=line.baud_rate,
            bytesize=line.data_bits,
            parity=line.parity.value[0].upper(),
            timeout=_ANSWER_SECONDS,
            retries=1,
            reconnect_delay=0,
        )

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One per poll."""
        client = self._client()
        try:
            while True:
                if client.connected or await client.connect():
                    yield await self._poll(client)
                else:
                    yield SampleRefusedError(Doubt.MALFORMED, "no connection")
                await asyncio.sleep(self._section.poll_seconds)
        finally:
            client.close()

    async def _poll(self, client: AsyncModbusTcpClient | AsyncModbusSerialClient) -> Sample | SampleRefusedError:
        try:
            answer = await client.read_input_registers(_FIRST_REGISTER, count=_REGISTERS, device_id=self._section.unit)
        except ModbusException as error:
            client.close()
            return SampleRefusedError(Doubt.MALFORMED, f"no answer: {type(error).__name__}")
        if answer.isError() or len(answer.registers) != _REGISTERS:
            return SampleRefusedError(Doubt.MALFORMED, "the meter refuses the request")
        try:
            return registers_of(answer.registers)
        except SampleRefusedError as error:
            return error
