"""How much a command says, and in which form: for people, as JSON lines for a program, or nothing but errors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.escaping import plain

if TYPE_CHECKING:
    from diffusers_deis_sn.collect.dry_run import Forecast


def echo(text: str, err: bool = False) -> None:
    """Print lines, to stderr if wanted: nothing in them, whoever wrote it, does to a terminal anything else."""
    typer.echo("\n".join(plain(line, None) for line in text.split("\n")), err=err)


@dataclass(frozen=True)
class Speech:
    """What goes to stdout and stderr beside errors.

    Args:
        json: One JSON object a line on stdout.
        quiet: Nothing.

    Raises:
        CalibrationError: Both.
    """

    json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.json and self.quiet:
            raise CalibrationError("`json` and `quiet` were both given, and exclude each other. Choose one.")

    @property
    def progress(self) -> bool | str:
        """The argument of `calibrate`."""
        return "json" if self.json else not self.quiet

    def say(self, text: str) -> None:
        """A line for people."""
        if not (self.json or self.quiet):
            echo(text)

    def tell(self, event: str, **facts: Any) -> None:
        """A line for programs."""
        if self.json:
            from diffusers_deis_sn.collect.progress import tell

            tell(event, **facts)

    def answer(self, forecast: Forecast) -> None:
        """What was asked for, which is no chatter, so that it is said in quiet too."""
        if self.json:
            self.tell("dry_run", **asdict(forecast), seconds=list(forecast.seconds))
        else:
            echo(str(forecast))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, other libraries show no bars beside lines for programs; in quiet, neither we nor they warn."""
        with ExitStack() as stack:
            if self.json or self.quiet:
                from diffusers_deis_sn.collect.hush import hushed

                stack.enter_context(hushed(logs=self.quiet))
            if self.quiet:
                stack.enter_context(_unwarned())
            yield


@contextmanager
def _unwarned() -> Iterator[None]:
    logger = logging.getLogger("diffusers_deis_sn")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)
