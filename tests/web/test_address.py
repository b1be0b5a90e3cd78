"""The address of the page is one of this machine, and free."""

from __future__ import annotations

import socket

import pytest

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.web.address import check_address
from refusals import refused


def test_a_free_port_is_free_afterwards():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    for _ in range(2):
        check_address("127.0.0.1", port)


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        refused(ConfigurationError, [f"`port` {port}", "Choose another"], check_address, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["", " ", "a\0b", "\ud800", "m" * 5000, "256.0.0.1", "192.0.2.1", "a b"])
def test_what_is_no_address_of_this_machine(host):
    refused(ConfigurationError, ["`host`", "127.0.0.1"], check_address, host, 7860)


@pytest.mark.parametrize("port", [-1, 0, 2**16, 2**70])
def test_what_is_no_port(port):
    refused(ConfigurationError, ["`port`"], check_address, "127.0.0.1", port)
