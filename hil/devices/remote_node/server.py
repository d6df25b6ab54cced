"""The node's side: a rack node of this board that does what the flight software's board tells it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from flight.hal import DeviceError, RackNode, Work, WorkState
from hil.devices.remote_node import files, wire
from hil.devices.remote_node.keys import KeyPair
from hil.plant.link import Sample
from skyrack.errors import UserError

T = TypeVar("T")

_WORK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_STARTED = "started"
_DOMAIN = "rack"


class RemoteSwitch:
    """What the node's driver takes for the plant: its load switch is where the far end says it is."""

    def __init__(self) -> None:
        self.closed = True

    def read(self, _satellite: str, _key: str) -> Sample:
        """Whether the node has power."""
        return Sample(float(self.closed), 0.0)

    def actuate(self, _satellite: str, _values: Mapping[str, float]) -> None:
        """The far end reads the draw with every poll, and tells its plant."""


class NodeServer:
    """Answers requests for one rack node; ``directory`` holds the files of its work."""

    def __init__(self, node: RackNode, switch: RemoteSwitch, directory: Path) -> None:
        self._node = node
        self._switch = switch
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._log = structlog.get_logger("node")
        self._answering: set[asyncio.Task[None]] = set()
        self._verbs: dict[type, Callable[[Any], Any]] = {
            wire.Poll: self._poll,
            wire.Offer: self._offer,
            wire.Chunk: self._take,
            wire.Start: self._start,
            wire.Stop: self._stop,
            wire.Forget: self._forget,
            wire.List: self._list,
            wire.Get: self._get,
        }

    async def serve(self, bind: str, pair: KeyPair, allowed: frozenset[str], bound: Callable[[str], None]) -> None:
        """Serve until cancelled; ``bound`` hears the address.

        Raises:
            zmq.ZMQError: the address cannot be bound.
        """
        context = zmq.asyncio.Context()
        authenticator = AsyncioAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve_callback(_DOMAIN, _Allowed(allowed))
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret.encode())
        # A far end that was cut off is let go of: its address comes back with a new connection.
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10_000)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        try:
            socket.bind(bind)
            bound(socket.getsockopt_string(zmq.LAST_ENDPOINT))
            while True:
                frames = await socket.recv_multipart()
                if len(frames) == 3:
                    task = asyncio.create_task(self._reply(socket, *frames))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
        finally:
            for task in self._answering:
                task.cancel()
            authenticator.stop()
            context.destroy(linger=0)

    async def _reply(self, socket: zmq.asyncio.Socket, who: bytes, number: bytes, request: bytes) -> None:
        answer = await self.answer(request)
        await socket.send_multipart([who, number, wire.encode(answer)])

    async def answer(self, request: bytes) -> wire.Answer:
        """Do what a request asks; what cannot be done is refused in a sentence."""
        try:
            decoded = wire.decode_request(request)
            work_id = getattr(decoded, "work_id", None)
            if work_id is not None and not _WORK_ID.fullmatch(work_id):
                return wire.Refused(f"{work_id!r} is no id of work")
            answer: wire.Answer = await self._verbs[type(decoded)](decoded)
        except (DeviceError, UserError, ValueError, OSError, msgspec.DecodeError) as error:
            self._log.warning("request_refused", problem=str(error))
            return wire.Refused(str(error))
        return answer

    async def _poll(self, request: wire.Poll) -> wire.Standing:
        self._switch.closed = request.powered
        await self._node.set_power_cap(request.cap_watts)
        reading = await self._node.read()
        reports = {}
        marks = {}
        for work_id in self._started():
            report = await self._node.report(work_id)
            if report is not None:
                reports[work_id] = report
                if report.state is WorkState.RUNNING:
                    marks[work_id] = files.mark(self._area(work_id, "checkpoint"))
        state = reading.value
        return wire.Standing(state.powered, state.draw_watts, reports, marks, reading.problem)

    async def _offer(self, request: wire.Offer) -> wire.Files:
        if (self._directory / request.work_id / _STARTED).exists():
            raise ValueError(f"{request.work_id} was begun here already; forget it first")
        area = self._area(request.work_id, request.area)
        area.mkdir(parents=True, exist_ok=True)
        return wire.Files(await _aside(lambda: files.wanted(area, request.files)))

    async def _take(self, request: wire.Chunk) -> wire.Done:
        area = self._area(request.work_id, request.area)
        await _aside(lambda: files.take(area, request.entry, request.offset, request.data))
        return wire.Done()

    async def _start(self, request: wire.Start) -> wire.Done:
        directory = self._directory / request.work_id
        for area in (*wire.SENT, *wire.FETCHED):
            (directory / area).mkdir(parents=True, exist_ok=True)
        # Begun before it begins: a work that may have run is never sent and run a second time.
        (directory / _STARTED).touch()
        asked = msgspec.structs.asdict(request)
        work = Work(
            **asked,
            work_dir=directory,
            input_dir=directory / "input",
            output_dir=directory / "output",
            checkpoint_dir=directory / "checkpoint",
        )
        try:
            await self._node.start(work)
        except DeviceError:
            (directory / _STARTED).unlink(missing_ok=True)
            raise
        return wire.Done()

    async def _stop(self, request: wire.Stop) -> wire.Done:
        await self._node.stop(request.work_id)
        return wire.Done()

    async def _forget(self, request: wire.Forget) -> wire.Done:
        report = await self._node.report(request.work_id)
        if report is not None and report.state is WorkState.RUNNING:
            await self._node.stop(request.work_id)
            return wire.Done()
        await self._node.forget(request.work_id)
        await _aside(lambda: shutil.rmtree(self._directory / request.work_id, ignore_errors=True))
        return wire.Done()

    async def _list(self, request: wire.List) -> wire.Files:
        area = self._area(request.work_id, request.area)
        return wire.Files(await _aside(lambda: files.listing(area)))

    async def _get(self, request: wire.Get) -> wire.Piece:
        area = self._area(request.work_id, request.area)
        return wire.Piece(await _aside(lambda: files.piece(area, request.path, request.offset)))

    def _area(self, work_id: str, area: str) -> Path:
        return self._directory / work_id / area

    def _started(self) -> list[str]:
        return sorted(path.parent.name for path in self._directory.glob(f"*/{_STARTED}"))


class _Allowed:
    """Whose keys are let in."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys

    def callback(self, _domain: str, key: bytes) -> bool:
        return key.decode() in self._keys


async def _aside(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
