"""An event loop in virtual time: when nothing is ready, time jumps to the next timer.

A day passes as fast as its work can be computed, and two runs of the same program do the same things in the same order:
executor calls run inline, ready descriptors are served in the order of their registration, and everything whose timing
belongs to the host (subprocesses, name look-ups, network sockets) is refused.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import selectors
import socket
import stat
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

_NETWORK_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_SHOWN_TASKS = 20


class DeadlockError(RuntimeError):
    """Nothing can ever wake the loop: no callback is ready, no timer is set, no descriptor is readable."""


class RefusedInVirtualTimeError(RuntimeError):
    """The host would decide when this ends, so that virtual time could not be replayed."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop whose time starts at ``start`` seconds and moves only by jumping to the next timer.

    Only descriptors that this very thread makes ready may be watched (ZeroMQ inproc sockets, pipes): a descriptor that
    another thread or process makes ready is served whenever the host gets to it.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._virtual_now = start
        super().__init__(_VirtualSelector(self))
        self._set_resolution()

    def time(self) -> float:
        return self._virtual_now

    def jump(self) -> None:
        """Move time to the next timer. Raises DeadlockError when there is none."""
        timers = self._scheduled  # type: ignore[attr-defined]
        if not timers:
            raise DeadlockError(_describe_deadlock(self))
        when: float = timers[0].when()
        if when > self._virtual_now:
            self._virtual_now = when
            self._set_resolution()

    def _set_resolution(self) -> None:
        # asyncio runs timers earlier than now + resolution: with one spacing of doubles, exactly those that are due.
        self._clock_resolution = math.ulp(self._virtual_now)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call ``func`` here and now; the future that comes back is done."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever the call raised belongs to whoever awaits it
            future.set_exception(error)
        return future

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        _refuse_network(fd)
        super().add_reader(fd, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        _refuse_network(fd)
        super().add_writer(fd, callback, *args)


def _refusing(name: str, what: str) -> Callable[..., Any]:
    async def refuse(_loop: VirtualLoop, *_arguments: Any, **_keywords: Any) -> NoReturn:
        raise RefusedInVirtualTimeError(f"{what} cannot run in virtual time (loop.{name}); use a model of it")

    refuse.__name__ = name
    return refuse


for _name, _what in {
    "subprocess_exec": "a subprocess",
    "subprocess_shell": "a subprocess",
    "getaddrinfo": "a name look-up",
    "getnameinfo": "a name look-up",
    "create_connection": "a network connection",
    "create_server": "a network server",
    "create_datagram_endpoint": "a network socket",
    "create_unix_connection": "a connection to another process",
    "create_unix_server": "a server for other processes",
    "connect_accepted_socket": "a network connection",
    "sock_connect": "a network connection",
    "sock_accept": "a network server",
}.items():
    setattr(VirtualLoop, _name, _refusing(_name, _what))


class _VirtualSelector(selectors.BaseSelector):
    """Polls without ever waiting; where asyncio asks it to wait, time jumps instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._order: dict[int, int] = {}
        self._registrations = 0
        self._event_list: list[tuple[selectors.SelectorKey, int]] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._registrations += 1
        self._order[fd] = self._registrations
        self._epoll.register(fd, _poll_mask(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self.get_key(fileobj)
        del self._keys[key.fd], self._order[key.fd]
        self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        old = self.get_key(fileobj)
        key = selectors.SelectorKey(old.fileobj, old.fd, events, data)
        self._keys[key.fd] = key
        if events != old.events:
            self._epoll.modify(key.fd, _poll_mask(events))
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._epoll.poll(0)
        if ready:
            if len(ready) > 1:
                ready.sort(key=lambda item: self._order[item[0]])
            return [(self._keys[fd], _events_of(mask) & self._keys[fd].events) for fd, mask in ready]
        if timeout is None or timeout > 0:
            self._loop.jump()
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
        return self._keys[fd]

    def close(self) -> None:
        self._keys.clear()
        self._order.clear()
        self._epoll.close()


def run(main: Callable[[], Coroutine[Any, Any, T]], *, start: float = 0.0) -> T:
    """Run ``main()`` in a fresh virtual loop that starts at ``start`` seconds, and return its result.

    Raises DeadlockError where nothing can ever wake the loop, besides whatever ``main`` raises.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(main())


def _poll_mask(events: int) -> int:
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )


def _events_of(mask: int) -> int:
    return (selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0) | (
        selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0
    )


def _refuse_network(fd: Any) -> None:
    number = fd if isinstance(fd, int) else int(fd.fileno())
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        return
    with socket.socket(fileno=os.dup(number)) as probe:
        if probe.family in _NETWORK_FAMILIES:
            raise RefusedInVirtualTimeError("a network socket cannot be watched in virtual time; use a model of it")


def _describe_deadlock(loop: asyncio.AbstractEventLoop) -> str:
    names = sorted(f"{task.get_name()} ({_where(task)})" for task in asyncio.all_tasks(loop))
    more = f" and {len(names) - _SHOWN_TASKS} more" if len(names) > _SHOWN_TASKS else ""
    waiting = "; ".join(names[:_SHOWN_TASKS]) or "no task at all"
    return f"nothing can ever wake the loop: no timer is set and nothing is readable; waiting: {waiting}{more}"


def _where(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    outermost = getattr(coroutine, "__qualname__", repr(coroutine))
    # Follow the chain of awaits to the place that really waits.
    while getattr(coroutine, "cr_await", None) is not None and hasattr(coroutine.cr_await, "cr_code"):
        coroutine = coroutine.cr_await
    frame = getattr(coroutine, "cr_frame", None)
    innermost = getattr(coroutine, "__qualname__", repr(coroutine))
    where = innermost if frame is None else f"{innermost}, line {frame.f_lineno}"
    return where if innermost == outermost else f"{outermost} in {where}"
