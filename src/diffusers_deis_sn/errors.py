"""The package's exceptions: each message names the rule that was broken, the value that broke it and the remedy.

All of them are also `ValueError`, `OSError` or `ImportError`, so that handlers written for those keep working. What a
message says is one line that can be printed, whatever stood in the file or name that it tells of.
"""

from __future__ import annotations

from diffusers_deis_sn.escaping import plain

LONGEST = 2000  # characters of a message; of a longer one the middle is left out, for the remedy stands at the end


class DeisSnError(Exception):
    """Root of the package's exceptions."""

    def __str__(self) -> str:
        """The message."""
        text = " ".join(super().__str__().splitlines())
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
        return plain(text, None)


class ConfigurationError(DeisSnError, ValueError):
    """A scheduler option that is unknown, out of range or at odds with another."""


class NoiseScheduleError(DeisSnError, ValueError):
    """A noise schedule that cannot be built: betas outside (0, 1), noise that does not grow with time, ..."""


class TimestepsError(DeisSnError, ValueError):
    """A time grid that cannot be walked: too many steps, times that repeat, rise or leave the training range."""


class ScheduleError(DeisSnError, ValueError):
    """Costs or levels that no schedule can be learned from."""


class StepError(DeisSnError, ValueError):
    """A call of `step` that does not fit the plan made by `set_timesteps`."""


class CoefficientError(DeisSnError, ValueError):
    """A coefficient table that breaks its own laws; a defect of this package, never the caller's."""


class StatisticsError(DeisSnError, ValueError):
    """Score statistics whose values contradict one another or their specification."""


class StatisticsMismatchError(StatisticsError):
    """Sound statistics, but of another model, noise schedule or prediction type than the one at hand."""


class StatisticsFormatError(StatisticsError):
    """A file that is not a `score_statistics.safetensors` this version can read."""


class MissingCostError(StatisticsError):
    """Statistics without the cost that a time grid is to be learned from."""


class StatisticsNotFoundError(DeisSnError, OSError):
    """No statistics could be had from where they were named.

    This class itself where it is known that there are none; the subclasses where that is not known.
    """


class StatisticsAccessError(StatisticsNotFoundError):
    """The Hub refuses: the repository is gated, or the token is wrong or lacks a permission. Logging in may help."""


class StatisticsUnreachableError(StatisticsNotFoundError):
    """It is not known whether they are there: offline, a server that fails or is too slow, a broken connection.

    The same call may succeed later.
    """


class PublishError(DeisSnError, OSError):
    """An upload that the Hub did not take, or a folder that is none of those which can be published."""


class CalibrationError(DeisSnError, ValueError):
    """A measurement that cannot be made: no samples, a pipeline that never called its scheduler, ..."""


class SeveralError(CalibrationError):
    """A pipeline that draws one sample a call, asked for several."""


class CheckpointError(CalibrationError):
    """A checkpoint that cannot be written or read, or that belongs to another measurement."""


class CalibrationInterruptedError(CalibrationError):
    """A measurement that was stopped by Ctrl-C or SIGTERM after a whole batch, and can be taken up again."""


class ProcessLostError(CalibrationError):
    """Another process of a shared measurement failed or ended; what was measured before can be taken up again."""


class ComparisonError(CalibrationError):
    """A comparison that cannot be made: another one lies in the folder, a pipeline without noise of its own, ..."""


class MissingExtraError(DeisSnError, ImportError):
    """A package is not installed that one of the extras brings.

    Args:
        what: What is missing, without a full stop.
        extra: Its name.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what}. Install it with: pip install "diffusers-deis-sn[{extra}]".')
