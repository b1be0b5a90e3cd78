"""Settings of every test: offline, one thread, seeded, quiet; those marked `gpu` are skipped without CUDA."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Read when these libraries are imported, hence before them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("laws", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("laws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Programs that a test runs in this process may silence loggers; the next test listens to them."""
    loggers = [logging.getLogger(name) for name in ("diffusers_deis_sn", "diffusers")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def published_tables() -> Path:
    """Folder of the two files published with DEIS-SN: $DEIS_SN_TABLES, or shared data in or beside the checkout."""
    root, shared = Path(__file__).resolve().parents[1], "shared/data/deis-sn-tables"
    for folder in (os.environ.get("DEIS_SN_TABLES"), root / shared, root.parent / shared):
        if folder is not None and Path(folder, "cifar10_Ls_score_abs.pt").is_file():
            return Path(folder)
    pytest.skip("the files published with DEIS-SN are not here; set DEIS_SN_TABLES to their folder")


@pytest.fixture
def diffusers_log() -> Iterator[list[str]]:
    """What Diffusers logs as a warning or worse during a test; its loggers do not propagate, so caplog is blind."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, keep = logging.getLogger("diffusers"), Keep(logging.WARNING)
    level = logger.level
    logger.addHandler(keep)
    logger.setLevel(logging.WARNING)
    yield messages
    logger.removeHandler(keep)
    logger.setLevel(level)
