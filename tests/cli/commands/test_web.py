import errno
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.helpers import assert_one_line_of_error, environment, flowercolor


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("options", "place", "said"),
    [
        ((), "127.0.0.1", ""),
        (("--host", "localhost"), "localhost", ""),
        pytest.param(
            ("--host", "::1"), "[::1]", "", marks=pytest.mark.skipif(not has_ipv6(), reason="none")
        ),
        (
            ("--host", "0.0.0.0", "--i-know"),
            "127.0.0.1",
            "; others put this computer's name or address in the place of 127.0.0.1",
        ),
    ],
)
def test_the_page_is_served_until_ctrl_c(
    weights: Path, options: tuple[str, ...], place: str, said: str
) -> None:
    command = [sys.executable, "-m", "flowercolor", "web", "--no-open", *options]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(weights)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address.startswith(f"http://{place}:")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=30) as page:
            assert b"flowercolor" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(address.rpartition("/")[0][:-1] + "/", timeout=30)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert told == f"The page is there until Ctrl-C{said}.\nInterrupted.\n"


def test_a_port_in_use_is_said_in_plain_words(weights: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = flowercolor("web", "--port", str(port), "--checkpoint", weights)
    said = f"127.0.0.1:{port}: cannot be served from: {os.strerror(errno.EADDRINUSE)}; choose"
    assert_one_line_of_error(result, said, code=2)


@pytest.mark.parametrize("host", ["nosuchhost.invalid", "192.0.2.1", "a..b"])
def test_an_address_that_is_not_of_this_computer_is_said_to_be_none(
    weights: Path, host: str
) -> None:
    result = flowercolor("web", "--host", host, "--i-know", "--checkpoint", weights)
    assert_one_line_of_error(
        result, f"{host}:0: cannot be served from: ", "; give --host an address of this", code=2
    )


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_no_address_of_this_computer_alone_need_be_known(weights: Path, host: str) -> None:
    """A port in use is what it fails by."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip("there is no such address")
        taken.listen()
        port = taken.getsockname()[1]
        result = flowercolor("web", "--host", host, "--port", str(port), "--checkpoint", weights)
    assert_one_line_of_error(result, "cannot be served from", "choose another --port", code=2)


def test_a_network_at_home_must_be_asked_for() -> None:
    assert_one_line_of_error(flowercolor("web", "--host", "0.0.0.0"), "add --i-know", code=2)
