"""The variables of the environment that huggingface_hub reads when it is imported, each in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from diffusers_deis_sn.statistics import ScoreStatistics
from fake_hub import TOKEN
from records import gaussian_record

FILE = "score_statistics.safetensors"
RECORD = gaussian_record().with_origin(base_model="someone/model")


@pytest.fixture
def command(hub, tmp_path):
    """Runs `deis-sn` in a fresh interpreter that knows the local Hub by HF_ENDPOINT alone."""
    removed = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "DEIS_SN_INDEX")
    base = {name: value for name, value in os.environ.items() if name not in removed}
    base |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def run(*arguments: object, code: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        program = ["-c", code] if code else ["-c", "from diffusers_deis_sn.cli.app import main; main()"]
        line = [sys.executable, *program, *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False, env=base | variables)

    return run


@pytest.mark.slow
def test_the_command_line_uses_endpoint_token_cache_and_offline_mode(hub, command, tmp_path):
    RECORD.save(tmp_path / "mine")
    pushed = command("push", tmp_path / "mine", "tester/secret", "--private", HF_TOKEN=TOKEN)
    assert pushed.returncode == 0, pushed.stderr
    assert f"Pushed to {hub.endpoint}/tester/secret/commit/" in pushed.stdout
    name = pushed.stdout.split('stats="')[1].split('"')[0]

    refused = command("inspect", "tester/secret")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "hf auth login" in refused.stderr
    assert "Traceback" not in refused.stderr

    shown = command("inspect", "tester/secret", HF_TOKEN=TOKEN)
    assert "someone/model" in shown.stdout, shown.stderr

    hub.requests.clear()
    assert command("inspect", "tester/secret", HF_HUB_OFFLINE="1").stdout == shown.stdout
    assert command("inspect", name).stdout == shown.stdout, "a pinned name needs no Hub either"
    assert hub.requests == []


@pytest.mark.slow
def test_an_index_is_named_by_the_environment(hub, command):
    hub.add_repo("user/index", {"index.json": b'{"format_version": 1, "models": {"someone/model": {"stats": "./m"}}}'})
    hub.repos["user/index"].commit({f"m/{FILE}": RECORD.to_bytes()})
    code = "from diffusers_deis_sn.statistics.index import look_up; print(look_up('someone/model').source)"
    done = command(code=code, DEIS_SN_INDEX="user/index")
    assert done.stdout.strip() == f"user/index/m@{hub.repos['user/index'].head}", done.stderr
    assert done.stderr == ""
    assert ScoreStatistics.load(done.stdout.strip()) == RECORD
