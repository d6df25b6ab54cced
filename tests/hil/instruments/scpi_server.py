"""Instruments on a real TCP port: a supply on a resistor, and a load on a battery, with what may go wrong."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import socketserver
import threading
import time
import tty
from collections.abc import Callable
from typing import Any


class Model:
    """What every instrument has: a name, an error queue, settings by command."""

    identity = "SKYRACK,MODEL,0,1.0"

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.log: list[str] = []
        self.delay_seconds = 0.0
        self.mute = False
        self.lock = threading.Lock()

    def command(self, text: str) -> str | None:
        """Do it; the answer, if it was a question."""
        with self.lock:
            self.log.append(text)
            if text == "*IDN?":
                return self.identity
            if text == "SYST:ERR?":
                return self.errors.pop(0) if self.errors else '+0,"No error"'
            word, _, value = text.partition(" ")
            if word.endswith("?"):
                return self.ask(word)
            self.tell(word, value)
            return None

    def ask(self, word: str) -> str | None:
        raise NotImplementedError

    def tell(self, word: str, value: str) -> None:
        raise NotImplementedError

    def unknown(self) -> None:
        self.errors.append('-113,"Undefined header"')


class Supply(Model):
    """A supply of 30 V and 5 A on a resistor; constant current where the resistor would take more."""

    identity = "SKYRACK,PSU305,42,1.0"

    def __init__(self, ohms: float = 4.0) -> None:
        super().__init__()
        self.ohms = ohms
        self.set = {"VOLT": 0.0, "CURR": 0.0, "VOLT:PROT": 33.0, "CURR:PROT": 5.5}
        self.most = {"VOLT": 30.0, "CURR": 5.0, "VOLT:PROT": 33.0, "CURR:PROT": 5.5}
        self.on = False
        self.condition = 0
        self.hold_volts: float | None = None

    @property
    def volts(self) -> float:
        if self.hold_volts is not None:
            return self.hold_volts
        return min(self.set["VOLT"], self.set["CURR"] * self.ohms) if self.on else 0.0

    @property
    def amperes(self) -> float:
        return self.volts / self.ohms if self.on else 0.0

    def fault(self, bit: int) -> None:
        """A protection trips."""
        with self.lock:
            self.condition |= bit
            self.on = False

    def ask(self, word: str) -> str | None:
        if word == "OUTP?":
            return str(int(self.on))
        if word == "STAT:QUES:COND?":
            return str(self.condition)
        if word == "MEAS:VOLT?":
            return f"{self.volts:.5E}"
        if word == "MEAS:CURR?":
            return f"{self.amperes:.5E}"
        if word[:-1] in self.set:
            return f"{self.set[word[:-1]]:.4f}"
        self.unknown()
        return None

    def tell(self, word: str, value: str) -> None:
        if word == "OUTP":
            self.on = value == "ON" and not self.condition
        elif word == "OUTP:PROT:CLE":
            self.condition = 0
        elif word in self.set:
            if float(value) > self.most[word] + 1e-9:
                self.errors.append('-222,"Data out of range"')
            else:
                self.set[word] = float(value)
        elif word not in ("INST:NSEL", "SYST:REM"):
            self.unknown()


class Dialect(Supply):
    """The same supply, with other words: ``words`` translates, {v} is what follows the last comma or blank."""

    def __init__(self, questions: dict[str, str], commands: dict[str, str]) -> None:
        super().__init__(ohms=4.0)
        self.questions, self.commands = questions, commands
        self.trip = {"VOLT": False, "CURR": False}

    def fault(self, bit: int) -> None:
        with self.lock:
            self.trip["VOLT" if bit == 1 else "CURR"] = True
            self.on = False

    def command(self, text: str) -> str | None:
        for theirs, ours in self.questions.items():
            if text == theirs:
                if ours in self.trip:
                    return "YES" if self.trip[ours] else "NO"
                return super().command(ours)
        for theirs, ours in self.commands.items():
            if text.startswith(theirs):
                if ours in self.trip:
                    self.trip[ours] = False
                elif ours:
                    super().command(f"{ours} {text.removeprefix(theirs)}")
                return None
        return super().command(text)


KEYSIGHT_E363X = (
    {"VOLT:PROT:TRIP?": "VOLT", "CURR:PROT:TRIP?": "CURR"},
    {"VOLT:PROT:STAT ON": "", "CURR:PROT:STAT ON": "", "VOLT:PROT:CLE": "VOLT", "CURR:PROT:CLE": "CURR"},
)
# Its over-current protection is on or off, and has no level.
KEYSIGHT_E36300 = (
    KEYSIGHT_E363X[0],
    {
        "VOLT:PROT:STAT ON": "",
        "CURR:PROT:STAT OFF": "",
        "CURR:PROT ": "no such command",
        "VOLT:PROT:CLE": "VOLT",
        "CURR:PROT:CLE": "CURR",
    },
)
RIGOL_DP800 = (
    {
        "OUTP? CH1": "OUTP?",
        "MEAS:VOLT? CH1": "MEAS:VOLT?",
        "MEAS:CURR? CH1": "MEAS:CURR?",
        "OUTP:OVP:QUES? CH1": "VOLT",
        "OUTP:OCP:QUES? CH1": "CURR",
    },
    {
        "OUTP:OVP:VAL CH1,": "VOLT:PROT",
        "OUTP:OCP:VAL CH1,": "CURR:PROT",
        "OUTP:OVP CH1,ON": "",
        "OUTP:OCP CH1,ON": "",
        "OUTP:OVP:CLEAR CH1": "VOLT",
        "OUTP:OCP:CLEAR CH1": "CURR",
        "OUTP CH1,": "OUTP",
    },
)


class Load(Model):
    """An electronic load on a battery with an internal resistance."""

    identity = "SKYRACK,EL150,7,1.0"

    def __init__(self) -> None:
        super().__init__()
        self.open_volts, self.ohms = 12.0, 0.05
        self.set = {"POW": 0.0, "CURR": 0.0}
        self.mode, self.on, self.condition = "CURR", False, 0
        self.clear = "INP:PROT:CLE"

    @property
    def amperes(self) -> float:
        if not self.on:
            return 0.0
        if self.mode == "CURR":
            return self.set["CURR"]
        # P = (U - R I) I
        root = math.sqrt(max(0.0, self.open_volts**2 - 4.0 * self.ohms * self.set["POW"]))
        return (self.open_volts - root) / (2.0 * self.ohms)

    def ask(self, word: str) -> str | None:
        if word == "INP?":
            return str(int(self.on))
        if word == "STAT:QUES:COND?":
            return str(self.condition)
        if word == "MEAS:VOLT?":
            return f"{self.open_volts - self.ohms * self.amperes:.4f}"
        if word == "MEAS:CURR?":
            return f"{self.amperes:.4f}"
        if word[:-1] in self.set:
            return f"{self.set[word[:-1]]:.4f}"
        self.unknown()
        return None

    def tell(self, word: str, value: str) -> None:
        if word == "INP":
            self.on = value == "ON"
        elif word == "FUNC":
            self.mode = value
        elif word == self.clear:
            self.condition = 0
        elif word in self.set:
            self.set[word] = float(value)
        else:
            self.unknown()


class SerialLine:
    """Serves a model at the far end of a serial line."""

    def __init__(self, model: Model) -> None:
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        self.resource = f"ASRL{os.ttyname(self._near)}::INSTR"
        self._thread = threading.Thread(target=self._serve, args=(model,), daemon=True)
        self._thread.start()

    def _serve(self, model: Model) -> None:
        with os.fdopen(self._far, "r+b", buffering=0) as far, contextlib.suppress(OSError):
            for line in iter(far.readline, b"quit\n"):
                answer = model.command(line.decode().strip())
                if answer is not None:
                    far.write(f"{answer}\n".encode())

    def stop(self) -> None:
        """Take it down."""
        os.write(self._near, b"quit\n")
        self._thread.join()
        os.close(self._near)


class ScpiServer:
    """Serves a model on a port of this machine."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._sockets: list[socket.socket] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._sockets.append(self.request)
                for line in self.rfile:
                    answer = model.command(line.decode().strip())
                    if model.delay_seconds:
                        time.sleep(model.delay_seconds)
                    if answer is not None and not model.mute:
                        self.wfile.write(f"{answer}\n".encode())

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._handler: Callable[..., Any] = Handler
        self._server_type = Server
        self._port = 0
        self.start()

    @property
    def resource(self) -> str:
        return f"TCPIP0::127.0.0.1::{self._port}::SOCKET"

    def start(self) -> None:
        """Switch it on, on the same port as before."""
        self._server = self._server_type(("127.0.0.1", self._port), self._handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def drop(self) -> None:
        """Cut the connections that there are."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def stop(self) -> None:
        """Switch it off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.drop()
