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


def test_the_page_is_served_to_this_computer_until_ctrl_c(weights: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowercolor", "web", "--no-open", "--checkpoint", str(weights)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=30) as page:
            assert b"flowercolor" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(address.rpartition("/")[0][:-1] + "/", timeout=30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert said == "The page is there until Ctrl-C.\nInterrupted.\n"


def test_a_port_in_use_is_said_in_plain_words(weights: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = flowercolor("web", "--port", str(port), "--checkpoint", weights)
    said = f"127.0.0.1:{port}: cannot be served from: {os.strerror(errno.EADDRINUSE)}; choose"
    assert_one_line_of_error(result, said, code=2)


def test_a_network_at_home_must_be_asked_for() -> None:
    assert_one_line_of_error(flowercolor("web", "--host", "0.0.0.0"), "add --i-know", code=2)
