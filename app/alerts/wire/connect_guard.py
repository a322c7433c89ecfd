"""Holds libraries that open their own connections to the addresses and the time that an alert may use."""

import errno
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from app.alerts.wire.addresses import AddressRefused, check_address
from app.core.alarms import alarm

_SENDS_TO = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_of_thread = threading.local()


class Guard:
    """What one guarded block did on the network."""

    def __init__(self, *, allow_private: bool) -> None:
        self.refused: AddressRefused | None = None
        """Why a connection was refused, also where the library kept that to itself."""
        self.is_cut = False
        """True once the time was over."""
        self._allow_private = allow_private
        self._wires: list[socket.socket] = []

    def let_through(self, wire: socket.socket, address: object) -> None:
        """Note a connection that is about to be made. Raises PermissionError, as a firewall on this machine does."""
        try:
            self._check(address)
        except AddressRefused as refused:
            # Libraries clean up after an OSError, and after nothing else.
            self.refused = refused
            raise PermissionError(errno.EACCES, str(refused)) from refused
        # A copy: TLS takes the socket over, and shutting down any copy shuts the connection.
        self._wires.append(wire.dup())
        if self.is_cut:
            raise TimeoutError(errno.ETIMEDOUT, "the time for it is over")

    def cut(self) -> None:
        """End all connections, whatever they are waiting for."""
        self.is_cut = True
        for wire in self._wires:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the copies."""
        for wire in self._wires:
            wire.close()

    def _check(self, address: object) -> None:
        if isinstance(address, tuple):
            check_address(str(address[0]), allow_private=self._allow_private)
        elif not self._allow_private:
            raise AddressRefused("it is a socket of this machine; set allow_private = true if that is meant")


@contextmanager
def guarded(*, allow_private: bool, whole_s: float) -> Iterator[Guard]:
    """Let this thread connect only where `check_address` allows, and cut what takes longer than `whole_s` seconds.

    The check is made at the connection itself, on the address that is used: no second answer of a name server, and no
    redirect, gets past it. Other threads are not concerned.
    """
    _install()
    guard = Guard(allow_private=allow_private)
    _of_thread.guard = guard
    try:
        with alarm(whole_s, guard.cut):
            yield guard
    finally:
        _of_thread.guard = None
        guard.close()


@cache
def _install() -> None:
    # An audit hook stays for the life of the process and is asked about everything, so only who needs it has it.
    sys.addaudithook(_heard)


def _heard(event: str, facts: tuple[Any, ...]) -> None:
    if event in _SENDS_TO:
        guard: Guard | None = getattr(_of_thread, "guard", None)
        if guard is not None and facts[1] is not None:
            guard.let_through(facts[0], facts[1])
