import threading

import pytest

from app.alerts.wire.addresses import AddressRefused, check_address, resolved

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1"),
    *("100.64.0.1", "100.127.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *("255.255.255.255", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1", "::7f00:1"),
    *("2001:0:7f00:1::1",),
]
NEVER = [
    *("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fd00:ec2::254%1"),
    *("100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "239.1.2.3", "ff02::1", "host.example", ""),  # noqa: S104 - no bind
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    check_address(address, allow_private=False)


@pytest.mark.parametrize("address", ["172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "11.0.0.0"])
def test_the_neighbours_of_private_networks_are_public(address: str) -> None:
    check_address(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_operators_word(address: str) -> None:
    with pytest.raises(AddressRefused, match="allow_private = true"):
        check_address(address, allow_private=False)
    check_address(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_some_addresses_are_never_allowed(address: str, allow_private: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(AddressRefused) as caught:
        check_address(address, allow_private=allow_private)
    assert not address or address not in str(caught.value)


def test_each_address_of_a_host_is_named_once_in_the_resolvers_order() -> None:
    found = resolved("h", 80, timeout_s=5, resolve=lambda _host, _port: ["::1", "127.0.0.1", "::1"])
    assert found == ["::1", "127.0.0.1"]


def test_a_resolver_that_does_not_answer_is_not_waited_for() -> None:
    never = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            resolved("h", 80, timeout_s=0.01, resolve=lambda _host, _port: ["8.8.8.8"] if never.wait() else [])
    finally:
        never.set()


def test_a_host_that_does_not_exist_is_the_resolvers_error() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(OSError, match="not known"):
        resolved("h", 80, timeout_s=5, resolve=unknown)
