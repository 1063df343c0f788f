"""What training processes have in common beyond `entrove.execution.program`."""

from entrove.errors import ModelError

EXIT_DIVERGED = 4


class DivergenceError(ModelError):
    """The loss of a training is no longer finite."""

    exit_code = EXIT_DIVERGED
