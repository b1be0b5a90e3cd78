"""The command answers at once where there is nothing to compute: help, version and every refusal of arguments."""

from __future__ import annotations

import subprocess
import sys

import pytest

SILENT = ["--help", "--version", "calibrate --help", "compare --help", "serve --help"]
REFUSED = [
    "nosuch",
    "inspect /nowhere",
    "calibrate /nowhere -o /tmp/x --num-samples 0",
    "calibrate /nowhere -o /tmp/x --tolerance 2",
    "calibrate user/repo -o /tmp/x --json --quiet",
    "calibrate /nowhere -o /tmp/x --dry-run",
    "calibrate /nowhere -o /tmp/x --dtype float8",
    "calibrate /nowhere -o /tmp/x --prompts /nowhere.txt",
    "calibrate user/repo -o /proc/nowhere",
    "calibrate /nowhere -o /tmp/x",
    "calibrate /nowhere.safetensors -o /tmp/x",
    "calibrate user/repo -o /tmp/x --guidance-scale -1",
    "calibrate user/repo -o /tmp/x --arg image",
    "calibrate user/repo -o /tmp/x --arg image=/nowhere.png",
    "calibrate user/repo -o /tmp/x --device cpu --offload model",
    "calibrate user/repo -o /tmp/x --lora /nowhere.safetensors",
    "calibrate user/repo -o /tmp/x --vae /nowhere",
    "calibrate user/repo -o /tmp/x --config /nowhere",
    "compare /nowhere -o /tmp/x",
    "compare user/repo -o /tmp/x --steps 3,x",
    "compare user/repo -o /tmp/x --guidance-scale -1",
    "tune user/repo -o /tmp/x --steps 30",
    "serve user/repo --stats /nowhere",
    "tune user/repo -o /tmp/x --budget soon",
    "tune /nowhere -o /tmp/x",
    "schedule /nowhere --steps 0",
    "plot /nowhere",
    "import /nowhere -o /tmp/x",
    "push /nowhere user/repo",
    "card /nowhere",
    "package /nowhere",
]
PROGRAM = """
import sys
from diffusers_deis_sn.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("code", end.code, *sorted({"torch", "diffusers", "matplotlib", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("command", "code"), [*((c, 0) for c in SILENT), *((c, 2) for c in REFUSED)])
def test_nothing_heavy_is_imported(command, code):
    program = [sys.executable, "-c", PROGRAM, *command.split()]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].split() == ["code", str(code)], done.stderr
