"""The command `deis-sn` as tests call it."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.cli.app import main


@pytest.fixture
def run(capsys):
    """Runs `deis-sn` and returns (exit code, stdout, stderr)."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        shown = capsys.readouterr()
        return end.value.code, shown.out, shown.err

    return command
