"""The training script end to end, a few steps of everything: it makes a pipeline, and a second call goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parent.parent
FEW = "--judge-steps 4 --vae-steps 2 --batch 8 --pool 500 --prompts 4 --mixed-precision no --cpu".split()


def small_mnist(path: Path) -> None:
    """scikit-learn's 8x8 digits in the format of the MNIST file, enlarged to 24x24 on 28x28."""
    digits = load_digits()
    large = np.kron(digits.images[:600], np.ones((1, 3, 3))) * 15.9
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = digits.target[:600].astype(np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


def train(folder: Path, unet_steps: int) -> dict[str, dict[str, float]]:
    command = [sys.executable, str(ROOT / "examples/train_tiny_sd.py"), "--mnist", str(folder / "mnist.npz")]
    command += ["--output", str(folder / "run"), "--unet-steps", str(unet_steps), *FEW]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
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
