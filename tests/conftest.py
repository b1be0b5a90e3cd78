"""Settings of every test: offline, one thread, seeded, quiet; those marked `gpu` are skipped without CUDA."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read when these libraries are imported, hence before them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # on GitHub help would be coloured, and not the words that it says

import numpy as np
import pytest
import torch
from hypothesis import settings

from diffusers_deis_sn.core import codec
from fake_hub import TOKEN, FakeHub

# A source distribution holds no models, statistics and figures; without them these have nothing to test.
SHIPPED = Path(__file__).resolve().parents[1] / "examples/models/tiny-sd-digits"
collect_ignore_glob = (
    []
    if SHIPPED.exists()
    else [
        "benchmarks/*",
        "cli/test_publishing.py",
        "comparison/test_run.py",
        "hub/test_schedulers_on_hub.py",
        "hub/test_shipped.py",
        "integrations/*",
        "pipelines/test_saving_and_shipped.py",
        "publish/test_package.py",
        "site/*",
        "test_examples.py",
        "test_experiments.py",
        "test_flow_model.py",
        "test_learned_grids.py",
        "test_package_contents.py",
        "test_quickstart.py",
        "test_release.py",
        "test_tra*.py",
        "test_workflows.py",
    ]
)

torch.set_num_threads(1)
settings.register_profile("laws", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("laws")

# Started in the background of a shell, Python finds Ctrl-C ignored and leaves it so; tests need it as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {"gpu": not torch.cuda.is_available(), "shipped": not SHIPPED.exists()}
    reasons = {"gpu": "needs a CUDA device", "shipped": "needs what a source distribution leaves out"}
    for item in items:
        for mark in reasons.keys() & item.keywords.keys():
            if missing[mark]:
                item.add_marker(pytest.mark.skip(reason=reasons[mark]))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _registered_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that a test runs in this process register classes; the next test may run the same ones."""
    monkeypatch.setattr(codec, "_CLASSES", dict(codec._CLASSES))


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


# ----------------------------------------------------------------------------------------------------------- a browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium: that of $CHROMIUM, one that is installed, or playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    own = os.environ.get("CHROMIUM") or next((path for one in names if (path := shutil.which(one))), None)
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


# --------------------------------------------------------------------------------------------------------- a local Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub that this process talks to, with an empty cache, without a token, and without the pauses between retries.

    huggingface_hub has read HF_ENDPOINT and the like when it was imported; tests/hub/test_environment.py tests those.
    """
    from huggingface_hub import constants, file_download

    with FakeHub() as hub:
        replaced: dict[str, Any] = {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }
        for name, value in replaced.items():
            monkeypatch.setattr(constants, name, value)
        url = constants.HUGGINGFACE_CO_URL_TEMPLATE
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", url, raising=False)  # hub 0 has a copy
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "DEIS_SN_INDEX"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        _forget_connections()
        pause = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, 0.01)))
        yield hub
    _forget_connections()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """The token that opens everything, in the environment."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return TOKEN


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that turns the client offline, as HF_HUB_OFFLINE=1 would have."""
    from huggingface_hub import constants

    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def _forget_connections() -> None:
    """The client of hub 0 fixes at its first request whether it is offline."""
    try:
        from huggingface_hub.utils import close_session as forget
    except ImportError:
        from huggingface_hub.utils import reset_sessions as forget
    forget()
