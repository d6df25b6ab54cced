"""A session with a SCPI instrument: text over a network, USB or a serial line, through pyvisa and pyvisa-py.

VISA blocks: each instrument has one thread. After any failure the session is closed, and opened anew by the next
command: an answer that comes late would be taken for the next one's. What an instrument thinks of a command is in its
error queue (SCPI-1999, volume 2, SYSTem:ERRor), and it is asked after each.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from hil.instruments.protocol import InstrumentError

T = TypeVar("T")

_MOST_ERRORS: Final = 20
_SPARE_SECONDS: Final = 3.0


class ScpiSession:
    """Commands and questions; every method raises InstrumentError."""

    def __init__(self, name: str, resource: str, timeout_seconds: float, baud_rate: int = 9600) -> None:
        """``resource`` is a VISA name: "TCPIP0::192.168.1.20::5025::SOCKET", "ASRL/dev/ttyUSB0::INSTR"."""
        self.name = name
        self.resource = resource
        self._timeout = timeout_seconds
        self._baud_rate = baud_rate
        self._worker: ThreadPoolExecutor | None = None
        self._open: Any = None

    @property
    def on_serial(self) -> bool:
        """Whether it is at the end of a serial line."""
        return self.resource.upper().startswith("ASRL")

    async def ask(self, *questions: str) -> list[str]:
        """The answers to some questions."""
        return await self._do(lambda: [self._query(question) for question in questions])

    async def tell(self, *commands: str) -> None:
        """Commands; what the instrument refuses is an error with its own words."""

        def work() -> list[str]:
            for command in commands:
                self._session().write(command)
            return self._errors()

        refused = await self._do(work)
        if refused:
            said = "; ".join(refused)
            raise InstrumentError(f"{self.name} refuses {' and '.join(commands)}: {said}")

    async def number(self, question: str) -> float:
        """The answer to a question, as a number."""
        (answer,) = await self.ask(question)
        try:
            return float(answer.split(",")[0])
        except ValueError:
            raise InstrumentError(f'{self.name} answers {question} with "{answer}", which is no number') from None

    async def forget_errors(self) -> None:
        """Empty the error queue of what was there before."""
        await self._do(self._errors)

    async def close(self) -> None:
        """Let go; never raises."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SPARE_SECONDS):
                    await asyncio.wrap_future(worker.submit(self._drop))
            worker.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)

        def guarded() -> T:
            try:
                return work()
            except InstrumentError:
                self._drop()
                raise
            except Exception as error:
                # pyvisa-py raises what its sockets, serial ports and parsers raise, and bare Exceptions.
                self._drop()
                raise InstrumentError(self._meaning(error)) from error

        return await asyncio.wrap_future(self._worker.submit(guarded))

    def _query(self, question: str) -> str:
        session = self._session()
        session.write(question)
        return str(session.read()).strip()

    def _errors(self) -> list[str]:
        found: list[str] = []
        for _ in range(_MOST_ERRORS):
            entry = self._query("SYST:ERR?")
            # +0,"No error"
            if entry.partition(",")[0].strip().lstrip("+-") == "0":
                return found
            found.append(entry)
        raise InstrumentError(f"{self.name} does not come to the end of its errors: {found[-1]}")

    def _session(self) -> Any:
        if self._open is None:
            try:
                import pyvisa
            except ImportError:
                problem = "instruments need pyvisa, which is not installed: pip install 'skyrack[instruments]'"
                raise InstrumentError(f"{self.name}: {problem}", lasting=True) from None
            milliseconds = round(1000 * self._timeout)
            session: Any = pyvisa.ResourceManager("@py").open_resource(self.resource, open_timeout=milliseconds)
            session.timeout = milliseconds
            session.read_termination = session.write_termination = "\n"
            if self.on_serial:
                session.baud_rate = self._baud_rate
            self._open = session
            with contextlib.suppress(AttributeError, KeyError, OSError):
                # A command and then a question are two small packets: the second would wait 40 ms for the first's
                # acknowledgement. pyvisa-py has the attribute VI_ATTR_TCPIP_NODELAY, and refuses to set it.
                session.visalib.sessions[session.session].interface.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
                )
        return self._open

    def _drop(self) -> None:
        session, self._open = self._open, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()

    def _meaning(self, error: Exception) -> str:
        where = f"{self.name} at {self.resource}"
        if isinstance(error, ConnectionError):
            return f"{where}: the connection is refused or was dropped; is it switched on, is its remote interface?"
        if "TMO" in str(error) or "imeout" in str(error) or "could not connect" in str(error):
            return (
                f"{where} does not answer within {self._timeout:g} s; look at its cable, address and remote interface"
            )
        if isinstance(error, PermissionError):
            return f"{where} may not be opened: add this user to the group dialout (serial) or plugdev (USB)"
        return f"{where}: {error or type(error).__name__}"
