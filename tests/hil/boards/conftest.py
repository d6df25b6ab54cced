"""Chips for boards that are made of files."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from hil.devices.host import Host


@dataclass(eq=False)
class ProbedBus:
    """A bus with registers of 16 bits by address, that remembers what was asked of whom."""

    chips: dict[int, Mapping[int, int]]
    refuses: int = 0
    asked: dict[int, list[int]] = field(default_factory=dict)
    writes: int = 0

    def _answer(self, address: int, code: int = errno.EREMOTEIO) -> Mapping[int, int]:
        if self.refuses or address not in self.chips:
            code = self.refuses or code
            raise OSError(code, os.strerror(code))
        return self.chips[address]

    def read_byte(self, i2c_addr: int) -> int:
        self.asked.setdefault(i2c_addr, [])
        return self._answer(i2c_addr).get(0, 0) >> 8

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        self.asked[i2c_addr].append(register)
        value = self._answer(i2c_addr).get(register, 0xFFFF)
        return (value & 0xFF) << 8 | value >> 8

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        self.asked[i2c_addr].append(register)
        return self._answer(i2c_addr).get(register, 0xFF) & 0xFF

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        return list(self._answer(i2c_addr).get(register, 0xFFFF).to_bytes(2, "big"))[:length]

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.writes += 1

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.writes += 1

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: list[int]) -> None:
        self.writes += 1

    def close(self) -> None:
        pass


@pytest.fixture
def put_on_bus() -> object:
    """Puts chips on a bus of a host; the bus."""

    def put(host: Host, number: int, chips: dict[int, Mapping[int, int]]) -> ProbedBus:
        bus = ProbedBus(chips)
        known = host.open_i2c
        host.open_i2c = lambda wanted: bus if wanted == number else known(wanted)
        device = host.path(f"/dev/i2c-{number}")
        device.parent.mkdir(parents=True, exist_ok=True)
        device.touch()
        return bus

    return put
