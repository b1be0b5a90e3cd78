"""Use the package where only itself and what it asks of everybody is installed: as_a_user.py UNPACKED_SOURCE.

Run outside of a checkout. Everything works but figures and the page, and these say which extra brings them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "deis-sn"
NOT_ASKED_FOR = ("matplotlib", "gradio", "pytest", "sklearn", "peft")
EXTRAS = {  # commands that need one
    "plot": ["plot", "statistics"],
    "card": ["card", "statistics"],
    "push": ["push", "statistics", "user/repo", "--dry-run"],
    "serve": ["serve", "model"],
}
PROMPTS = ["--prompts", "prompts.txt", "--guidance-scale", "2"]
TUNING = ["--steps", "2", "--num-samples", "4", "--num-held-out", "4"]
WORKING = (
    ["inspect", "statistics"],
    ["schedule", "statistics", "--steps", "8", "--format", "comfyui"],
    ["calibrate", "model", *PROMPTS, "--num-samples", "2", "--num-inference-steps", "6", "--trials", "0", "-o", "own"],
    ["tune", "model", *PROMPTS, *TUNING, "-o", "own"],
    ["compare", "model", *PROMPTS, "--steps", "3", "--stats", "own", "-o", "comparison"],
)


def deis_sn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, in this folder."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def working(*arguments: str) -> str:
    """Output of a command that has to work."""
    done = deis_sn(*arguments)
    assert done.returncode == 0, f"deis-sn {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout)  # in a workflow Typer prints colours


def check_imports() -> None:
    """The package is the installed one, alone, and all its names are there."""
    package = import_module("diffusers_deis_sn")
    assert "site-packages" in str(package.__file__), f"{package.__file__} is not what was installed"
    present = [name for name in NOT_ASKED_FOR if find_spec(name)]
    assert not present, f"{present} came with the package, and is asked of nobody"
    for name in package.__all__:
        getattr(package, name)
    scheduler = package.DEISSNScheduler()
    scheduler.set_timesteps(8)
    assert len(scheduler.timesteps) == 8


def check_commands() -> None:
    """Each says what it does, works, or says what is missing and how to have it."""
    main = working("--help")
    for name in ("calibrate", "tune", "compare", "inspect", "schedule", "import", "package", *EXTRAS):
        assert f" {name} " in main, f"deis-sn --help does not have {name}"
        assert "Usage: deis-sn" in working(name, "--help")
    for arguments in WORKING:
        working(*arguments)
    assert Path("comparison/compare.html").is_file() and Path("own/score_statistics.safetensors").is_file()
    for name, arguments in EXTRAS.items():
        done = deis_sn(*arguments)
        extra = "web" if name == "serve" else "plot"
        said = f'pip install "diffusers-deis-sn[{extra}]"'
        assert done.returncode == 2, f"deis-sn {name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        assert said in done.stderr and "Traceback" not in done.stderr, f"deis-sn {name} said:\n{done.stderr}"


def main(source: str) -> None:
    """Make a model and statistics by the tests' own means, and try everything on them."""
    check_imports()
    sys.path[:0] = [source, f"{source}/tests"]  # the package itself lies in src
    pipe, _ = import_module("tiny_pipelines").BUILDERS["sd"]()
    pipe.save_pretrained("model")
    Path("prompts.txt").write_text("a cat\na dog\na ship\na tree\n")
    import_module("records").solver_cost(import_module("tiny_pipelines.ours").statistics("sd")).save("statistics")
    check_commands()
    print(f"Works with {sum(1 for _ in distributions())} packages, and says what to install for the rest.")


if __name__ == "__main__":
    source = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main(source)
