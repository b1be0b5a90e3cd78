"""`--num-processes`: the same command in several processes of this machine, by the launcher that PyTorch has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from diffusers_deis_sn.collect.arguments import check_count
from diffusers_deis_sn.errors import CalibrationError

FLAG = "--num-processes"
MOST_PROCESSES = 1024  # of one machine
# accelerate's own launcher calls this one for GPUs, and starts a single process on a CPU.
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def leads() -> bool:
    """Whether this process is the first of those that a launcher started, or was started by none."""
    return os.environ.get("RANK", "0") == "0"


def world() -> int:
    """How many processes a launcher started; one where there is none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_number(number: int) -> None:
    """Raise CalibrationError for a number of processes that cannot be, or where a launcher has decided it."""
    check_count("num_processes", number, 1, MOST_PROCESSES)
    if number > 1 and "RANK" in os.environ:
        raise CalibrationError(
            f"`num_processes` is {number}, and accelerate or torchrun has started several already. Leave it out."
        )


def command_of(number: int, arguments: Sequence[str]) -> list[str]:
    """The command that starts so many processes with the same arguments, less the number.

    Args:
        number: Of processes.
        arguments: Of this one, as the shell gave them.
    """
    rest, skip = [], False
    for one in arguments:
        if not skip and one != FLAG and not one.startswith(f"{FLAG}="):
            rest.append(one)
        skip = one == FLAG and not skip
    return [sys.executable, *LAUNCHER, str(number), "-m", "diffusers_deis_sn", *rest]


def launch(number: int, arguments: Sequence[str]) -> None:
    """Run them to their end; Ctrl-C and SIGTERM are passed on, and stop them after their batch.

    Args:
        number: Of processes.
        arguments: Of this one, as the shell gave them.

    Raises:
        CalibrationError: Not all succeeded; the errors are on stderr.
    """
    # In a session of its own: the terminal would send Ctrl-C to each process, and the launcher once more.
    process = subprocess.Popen(command_of(number, arguments), start_new_session=True)

    def passed_on(received: int, _: FrameType | None) -> None:
        process.send_signal(received)

    before = {one: signal.signal(one, passed_on) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if code:
        raise CalibrationError(
            f"Not all of the {number} processes succeeded; the errors are above. Run the same command with --resume to "
            "continue from what was saved last."
        )
