"""The training scripts end to end, a few steps of everything: they make a pipeline, and a second call goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parent.parent
FEW = "--judge-steps 4 --vae-steps 2 --batch 8 --pool 500 --prompts 4 --mixed-precision no --cpu".split()
FEW_FLOW = (
    "--judge-steps 2 --vae-steps 2 --vae-batch 4 --batch 4 --width 32 --layers 2 --heads 1 --names 3 --reach 0 --cpu"
    " --mixed-precision no"
).split()
NAMES = ["red disc", "blue disc", "green square", "keycap 7", "a flag", "red disc", "twin of the square"]


def small_mnist(path: Path) -> None:
    """scikit-learn's 8x8 digits in the format of the MNIST file, enlarged to 24x24 on 28x28."""
    digits = load_digits()
    large = np.kron(digits.images[:600], np.ones((1, 3, 3))) * 15.9
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = digits.target[:600].astype(np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def train(folder: Path, unet_steps: int) -> dict[str, dict[str, float]]:
    places = ("--mnist", folder / "mnist.npz", "--output", folder / "run")
    done = run("train_tiny_sd.py", *places, "--unet-steps", unet_steps, *FEW)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "run/training.json").read_text())


def small_emoji() -> dict[str, Any]:
    """Seven pictures on a transparent ground, of which a flag, a name that was there and a twin are left out."""
    y, x = np.mgrid[:64, :64] - 31.5
    disc, square = np.hypot(x, y) < 24, np.maximum(abs(x), abs(y)) < 20
    images = np.zeros((7, 64, 64, 4), np.uint8)
    for image, shape, colour in zip(
        images,
        (disc, disc, square, disc & ~square, square, square, square),
        ((220, 0, 0), (0, 0, 220), (0, 160, 0), (90, 90, 90), (0, 0, 0), (9, 9, 9), (0, 160, 0)),
        strict=True,
    ):
        image[shape] = (*colour, 255)
    categories = ["Symbols"] * 4 + ["Flags"] + ["Symbols"] * 2
    return {"images": images, "names": NAMES, "categories": categories, "subcategories": ["geometric"] * 7}


def train_flow(folder: Path, flow_steps: int) -> dict[str, dict[str, float]]:
    places = ("--data", folder / "emoji.npz", "--output", folder / "run")
    done = run("train_tiny_flow.py", *places, "--flow-steps", flow_steps, *FEW_FLOW)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "run/training.json").read_text())


@pytest.mark.slow
def test_training_makes_a_pipeline_and_resumes(tmp_path: Path) -> None:
    small_mnist(tmp_path / "mnist.npz")
    log = train(tmp_path, unet_steps=2)
    first = DiffusionPipeline.from_pretrained(tmp_path / "run/pipeline")
    judge_file = (tmp_path / "run/judge.safetensors").read_bytes()
    assert 0.0 <= log["prompt accuracy, 50 DDIM steps, guidance 3"]["all"] <= 1.0
    tokens = first.tokenizer("a red seven on a dark blue background").input_ids
    assert len(tokens) == 8 + 2 and len(set(tokens)) == 2 + 7  # every word is one token; "a" occurs twice

    train(tmp_path, unet_steps=4)
    second = DiffusionPipeline.from_pretrained(tmp_path / "run/pipeline")
    vae = zip(first.vae.parameters(), second.vae.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in vae)  # finished stages are kept
    unet = zip(first.unet.parameters(), second.unet.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in unet)  # the last one went on
    assert len(judge_file) < 1_000_000


@pytest.mark.slow
def test_the_flow_is_trained_and_resumed(tmp_path: Path) -> None:
    np.savez(tmp_path / "emoji.npz", **small_emoji())
    log = train_flow(tmp_path, flow_steps=2)
    assert log["setting"]["emoji"] == 4
    assert 0.0 <= log["retrieval, 50 Euler steps, guidance 3"]["top 1"] <= 1.0
    first = DiffusionPipeline.from_pretrained(tmp_path / "run/pipeline")
    assert first.tokenizer("green square 7").input_ids[1:-1] == [
        first.tokenizer(word).input_ids[1] for word in ("green", "square", "7")
    ]

    train_flow(tmp_path, flow_steps=4)
    second = DiffusionPipeline.from_pretrained(tmp_path / "run/pipeline")
    vae = zip(first.vae.parameters(), second.vae.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in vae)  # finished stages are kept
    flow = zip(first.transformer.parameters(), second.transformer.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in flow)  # the last one went on


def test_the_flow_script_says_where_emoji_come_from(tmp_path: Path) -> None:
    done = run("train_tiny_flow.py", "--data", tmp_path / "absent.npz", "--output", tmp_path / "run")
    assert done.returncode == 1
    assert "npm pack emoji-datasource-google@16.0.0" in done.stderr
    assert "Traceback" not in done.stderr
