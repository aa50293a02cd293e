"""Where the server may listen, and which address it tells."""

from __future__ import annotations

import contextlib

import pytest

from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.serve import address_of, listen, refuse_open_network
from fhir_server.config import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    refuse_open_network(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "server.example", ""])
def test_every_other_address_is_refused_until_it_is_asked_for(host: str) -> None:
    with pytest.raises(CannotRun, match="FHIR_OPEN=yes") as told:
        refuse_open_network(Settings(host=host))
    assert told.value.code == WRONG_USE
    refuse_open_network(Settings(host=host, open=True))


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://localhost:")],
)
def test_the_address_told_is_one_that_this_machine_can_open(host: str, told: str) -> None:
    with contextlib.closing(listen(Settings(host=host, port=0))) as listener:
        assert address_of(host, listener) == f"{told}{listener.getsockname()[1]}"


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    with contextlib.closing(listen(Settings(port=0))) as listener:
        port = listener.getsockname()[1]
        assert address_of("::1", listener) == f"http://[::1]:{port}"
        assert address_of("::", listener) == f"http://[::1]:{port}"


def test_a_host_that_nobody_knows_is_told_in_one_sentence() -> None:
    with pytest.raises(CannotRun, match=r"^Cannot listen on no-such-host\.invalid:0: "):
        listen(Settings(host="no-such-host.invalid", port=0, open=True))
