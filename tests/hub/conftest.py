"""A client of the local Hub: in this process, by the constants that `huggingface_hub` reads when it is called."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_hub import TOKEN, FakeHub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub that this process talks to, with an empty cache, without a token, and without the pauses between retries.

    huggingface_hub has read HF_ENDPOINT and the like when it was imported; test_environment.py tests those.
    """
    from huggingface_hub import constants, file_download

    with FakeHub() as hub:
        settings: dict[str, Any] = {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }
        for name, value in settings.items():
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
