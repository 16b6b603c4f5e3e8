"""What can go wrong, said in one sentence, with the exit code the command line answers.

Every message names the file, the node where there is one, and the mend.
"""

from __future__ import annotations

from typing import ClassVar


class EdpcError(Exception):
    """An error that a person is told in one sentence; `exit_code` is what the process answers."""

    exit_code: ClassVar[int] = 4


class GateError(EdpcError):
    """A gate the user asked for (`--strict`, `--fail-above`) did not hold."""

    exit_code: ClassVar[int] = 1


class UsageError(EdpcError):
    """The command, an option, a target, a pass or a pipeline is not one edpc knows."""

    exit_code: ClassVar[int] = 2


class ModelError(EdpcError):
    """The model (or the textual IR) cannot be read or is invalid."""

    exit_code: ClassVar[int] = 3


class VerifyError(EdpcError):
    """A graph broke an invariant of the IR: a defect of the pass that ran before, never of the model."""

    exit_code: ClassVar[int] = 4


class PassError(EdpcError):
    """A pass failed; `reproducer` is the text of an `.edp` file that replays it."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, reproducer: str | None = None) -> None:
        super().__init__(message)
        self.reproducer = reproducer
