"""`--num-processes`: the same command in several processes, through torch.distributed's launcher and accelerate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from diffusers_deis_sn.cli.launching import check_number, command_of, launch, leads
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics import ScoreStatistics
from processes import wait_for
from refusals import refused


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "given",
    [
        ["calibrate", "m", "--num-processes", "3", "-o", "x"],
        ["calibrate", "m", "-o", "x", "--num-processes=3"],
        ["--num-processes", "2", "calibrate", "m", "--num-processes", "3", "-o", "x"],
    ],
)
def test_the_processes_get_all_arguments_but_their_number(given):
    command = command_of(3, given)
    assert command[:1] == [sys.executable] and command[command.index("--nproc-per-node") + 1] == "3"
    assert command[command.index("diffusers_deis_sn") - 1 :] == ["-m", "diffusers_deis_sn", "calibrate", "m", "-o", "x"]


def test_numbers_that_cannot_be_are_refused(monkeypatch):
    refused(CalibrationError, ["`num_processes`", "0"], check_number, 0)
    check_number(1)
    check_number(8)
    assert leads()
    monkeypatch.setenv("RANK", "1")
    assert not leads()
    check_number(1)
    refused(CalibrationError, ["2", "torchrun"], check_number, 2)


def test_processes_that_fail_are_an_error_with_the_way_on(monkeypatch):
    monkeypatch.setattr("diffusers_deis_sn.cli.launching.command_of", lambda *_: [sys.executable, "-c", "exit(3)"])
    refused(CalibrationError, ["2 processes", "--resume"], launch, 2, [])
    monkeypatch.setattr("diffusers_deis_sn.cli.launching.command_of", lambda *_: [sys.executable, "-c", ""])
    launch(2, [])


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ours", "accelerate"])
def test_two_processes_write_what_one_does(tmp_path, launcher):
    from tiny_pipelines import BUILDERS

    pipe, _ = BUILDERS["ddpm"]()
    pipe.save_pretrained(tmp_path / "model")
    rest = ["--num-samples", "5", "--steps", "4", "--batch-size", "2", "--trials", "0", "--device", "cpu"]

    def run(program: list[str], output: str, *more: str) -> None:
        command = [*program, "calibrate", str(tmp_path / "model"), "-o", str(tmp_path / output), *rest, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Measured 5 samples") == 1
        assert ("by 2 processes" in done.stdout) == (output == "two")

    ours = [sys.executable, "-m", "diffusers_deis_sn"]
    if launcher == "ours":
        run(ours, "two", "--num-processes", "2")
    else:
        accelerate = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
        run(
            [
                sys.executable,
                *accelerate,
                "--mixed_precision",
                "no",
                "--dynamo_backend",
                "no",
                "-m",
                "diffusers_deis_sn",
            ],
            "two",
        )
    run(ours, "one")
    one, two = (ScoreStatistics.load(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two.mean_abs, one.mean_abs, rtol=1e-5)  # the network is of float32
    assert np.array_equal(two.num_samples, one.num_samples)
    assert {one.name for one in Path(tmp_path / "two").iterdir()} == {"score_statistics.safetensors"}


def workers_of(launcher: int) -> list[int]:
    """Ids of the processes that the launcher of a process started, in the order of their births."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
    return [worker for child in children.get(launcher, ()) for worker in sorted(children.get(child, ()))]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_worker_ends_the_command_with_a_message_and_resume_goes_on(tmp_path):
    from tiny_pipelines import BUILDERS

    pipe, _ = BUILDERS["ddpm"]()
    pipe.save_pretrained(tmp_path / "model")
    options = "--num-samples 40 --steps 60 --batch-size 2 --trials 0 --device cpu --num-processes 2".split()
    place = ["calibrate", str(tmp_path / "model"), "-o", str(tmp_path / "out")]
    command = [sys.executable, "-m", "diffusers_deis_sn", *place, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for((tmp_path / "out" / ".score_statistics.checkpoint.safetensors").exists)
        os.kill(workers_of(running.pid)[1], signal.SIGKILL)
        _, told = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "deis-sn: One of the 2 processes ended" in told and "deis-sn: Not all of the 2 processes succeeded" in told
    assert not (tmp_path / "out" / "score_statistics.safetensors").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and "Measured 40 samples" in done.stdout, done.stderr
