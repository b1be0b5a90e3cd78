"""Where the page is shown: an address of this machine and a port, seen to before a model is loaded for it."""

from __future__ import annotations

import os
import socket

from diffusers_deis_sn.errors import ConfigurationError


def check_address(host: str, port: int) -> None:
    """See that something can listen there; nothing does afterwards.

    Args:
        host: Name or number of the address.
        port: The port.

    Raises:
        ConfigurationError: No address of this machine, or a port that is taken or may not be had.
    """
    try:
        if not host.strip():  # which the system reads as every address there is
            raise ValueError("an empty name")
        if not 1 <= port < 2**16:  # which some systems take modulo that
            raise ValueError("a port is 1 to 65535")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as one:
            if os.name == "posix":  # a page that was closed a moment ago takes no port
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"Nothing can listen at `port` {port} of `host` {host!r}: {reason}. Choose another; 127.0.0.1 is this "
            "machine."
        ) from error
