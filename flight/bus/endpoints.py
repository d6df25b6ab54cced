"""Where services are found on the bus: an address for what a service publishes, one for requests to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flight.bus.errors import EndpointError

# sizeof(sockaddr_un.sun_path) is 108 on Linux, with the closing NUL.
LONGEST_SOCKET_PATH_BYTES = 107


class Peer(Protocol):
    """A bus as other buses in the same process see it."""

    def peer_arrived(self, service: str) -> None:
        """``service`` can be connected to now."""

    def peer_leaves(self, service: str) -> None:
        """``service`` is about to close its sockets: read what it has sent, then let go of it."""

    def settle(self) -> None:
        """Let the sockets do what other threads or peers asked of them."""


@dataclass
class Rendezvous:
    """Buses of one process that reach each other over inproc.

    ZeroMQ connects ipc and tcp again by itself when a peer restarts; an inproc connection ends with its peer. So those
    who want a service wait here until it is bound, and are told when it leaves. Parting is done in a fixed order, in
    one thread, so that a restart in virtual time replays exactly.
    """

    peers: list[Peer] = field(default_factory=list)
    bound: set[str] = field(default_factory=set)

    def join(self, peer: Peer) -> None:
        self.peers.append(peer)

    def arrive(self, service: str) -> None:
        self.bound.add(service)
        for peer in list(self.peers):
            peer.peer_arrived(service)

    def leave(self, service: str, leaving: Peer) -> None:
        self.bound.discard(service)
        for peer in self.peers:
            if peer is not leaving:
                peer.peer_leaves(service)
        # A pipe ends by a handshake: two rounds finish it, before ZeroMQ's reaper thread could at a time of its own.
        for _ in range(2):
            for peer in self.peers:
                peer.settle()
        self.peers.remove(leaving)


@dataclass(frozen=True)
class Endpoints:
    """Names of addresses: ``{base}{service}.pub`` and ``{base}{service}.req``."""

    base: str
    rendezvous: Rendezvous | None = None

    @classmethod
    def ipc(cls, run_directory: Path | str) -> Endpoints:
        """Unix sockets in a directory, which must exist."""
        return cls(f"ipc://{Path(run_directory).absolute()}/")

    @classmethod
    def inproc(cls, prefix: str = "") -> Endpoints:
        """Within one process and one zmq.Context; ``prefix`` tells satellites apart. Share the object among buses."""
        return cls(f"inproc://{prefix}/", Rendezvous())

    def pub(self, service: str) -> str:
        """Where the service publishes. Raises EndpointError when the address is too long for a socket."""
        return self._address(service, "pub")

    def req(self, service: str) -> str:
        """Where the service takes requests. Raises EndpointError when the address is too long for a socket."""
        return self._address(service, "req")

    def _address(self, service: str, kind: str) -> str:
        if not service or "/" in service:
            raise EndpointError(f"{service!r} is not a name for a service: it must be a word without '/'")
        address = f"{self.base}{service}.{kind}"
        scheme, _, path = address.partition("://")
        length = len(path.encode())
        if scheme == "ipc" and length > LONGEST_SOCKET_PATH_BYTES:
            raise EndpointError(
                f"the socket path {path} has {length} bytes, more than the {LONGEST_SOCKET_PATH_BYTES} that the kernel "
                "takes; choose a run directory with a shorter path, for example under /tmp"
            )
        return address
