"""`python -m diffusers_deis_sn` is the command."""

from __future__ import annotations

import subprocess
import sys

from diffusers_deis_sn._version import __version__


def test_the_module_is_the_command():
    program = [sys.executable, "-m", "diffusers_deis_sn", "--version"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.split() == [
        "diffusers-deis-sn",
        __version__,
    ]
