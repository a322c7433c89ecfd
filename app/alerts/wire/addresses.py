"""Which network addresses an alert may go to: public ones, and private ones only where the settings say so."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]

# Credentials are handed out there to whoever asks from within a machine of that cloud; nobody takes alerts there.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
# A translator (NAT64) turns these into the IPv4 address of their last 32 bits: on networks without IPv4 all are such.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """Nothing is sent to this address; the message says why, without naming it."""


def check_address(text: str, *, allow_private: bool) -> None:
    """Do nothing for an address that may be connected to. Raises AddressRefused.

    Never: cloud metadata services, multicast, unspecified. Only with `allow_private`: everything else that is not on
    the public internet (loopback, private, link-local, carrier-grade NAT, reserved), also when written as IPv6.
    """
    for address in _meant(text):
        if address in _METADATA:
            raise AddressRefused("its address is that of a cloud metadata service, to which nothing is ever sent")
        if address.is_multicast or address.is_unspecified:
            raise AddressRefused("its address is not that of one host")
        if not allow_private and not _is_public(address):
            raise AddressRefused("its address is private; set allow_private = true for this target if that is meant")


def resolved(host: str, port: int, *, timeout_s: float, resolve: Resolve | None = None) -> list[str]:
    """Return the addresses of a host, each once, in the order in which they are to be tried.

    Raises TimeoutError after `timeout_s`, and OSError where there is no such host.
    """
    answers: list[Sequence[str] | Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            answers.append((resolve or _asked)(host, port))
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            answers.append(error)
        done.set()

    # The system's resolver can't be told to give up: a thread is left to it, which ends when it does.
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    if not done.wait(timeout_s):
        raise TimeoutError
    found = answers[0]
    if isinstance(found, Exception):
        raise found
    return list(dict.fromkeys(found))


def _asked(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not address.is_reserved and not site_local


def _meant(text: str) -> list[Address]:
    """The address, and the IPv4 addresses that are hidden in it or stand behind it."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError as error:
        raise AddressRefused("its address can't be read") from error
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _TRANSLATED:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    hidden = (address.sixtofour, *(address.teredo or ()))
    return [address, *(inner for inner in hidden if inner is not None)]
