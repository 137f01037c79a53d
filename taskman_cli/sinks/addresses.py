"""Where to connect to: addresses of a name, and which of them are private."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from taskman_cli.sinks.base import NotReached

if TYPE_CHECKING:
    from taskman_cli.sinks.patience import Deadline, Patience

#: What `getaddrinfo` returns: family, type, protocol, name, address.
Found = tuple[Any, Any, int, str, Any]
Resolver = Callable[[str, int], list[Found]]

#: In these IPv6 networks an IPv4 address is inside: RFC 6052 and RFC 4291.
_INSIDE = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
#: Networks that older versions of the standard library take for public ones.
_LOCAL = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"), IPv6Network("100::/64"))


def is_private(address: str) -> bool:
    """Tell if an address is of this machine, of a private network or of none, however it is written."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_private(str(inner))
        if any(ip in network for network in _LOCAL):
            return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in network for network in _INSIDE) and int(ip) > 1:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def resolve(host: str, port: int) -> list[Found]:
    """Look a name up."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Addresses:
    """Finds the addresses of names, without waiting for them longer than is allowed."""

    def __init__(self, patience: Patience, look_up: Resolver = resolve) -> None:
        self._patience = patience
        self._look_up = look_up

    def of(self, host: str, port: int, deadline: Deadline, *, is_private_allowed: bool) -> list[Found]:
        """Return where a host is; raises DeliveryFailed if it is nowhere, or nowhere that is allowed."""
        try:
            found = self._patience.run(lambda: self._look_up(host, port), deadline)
        except TimeoutError:
            raise NotReached(f"{host}: the name server does not answer") from None
        except socket.gaierror as error:
            raise NotReached(f"{host}: {error.strerror or error}") from None
        except (OSError, ValueError):
            raise NotReached(f"{host}: not a name that can be looked up") from None
        allowed = [item for item in found if is_private_allowed or not is_private(str(item[4][0]))]
        if found and not allowed:
            raise NotReached(f"{host}: has a private address, which allow_private = false refuses")
        if not allowed:
            raise NotReached(f"{host}: has no address")
        return allowed

    def connect(
        self, host: str, port: int, deadline: Deadline, *, is_private_allowed: bool = True
    ) -> socket.socket:
        """Connect to the first address that answers; what was checked is what is connected to."""
        addresses = self.of(host, port, deadline, is_private_allowed=is_private_allowed)
        trouble = "no answer"
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                left = deadline.left_s()
                connection = socket.socket(family, kind, protocol)
                try:
                    # A first address that swallows everything must not take the time of the others.
                    connection.settimeout(left if place == len(addresses) - 1 else left / 2)
                    connection.connect(address)
                except BaseException:
                    connection.close()
                    raise
            except TimeoutError:
                trouble = "no answer to a connection"
            except OSError as error:
                trouble = error.strerror or str(error)
            else:
                return connection
        raise NotReached(f"{host}:{port}: {trouble}")
