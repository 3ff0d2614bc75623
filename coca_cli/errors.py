"""The mistakes a user can mend. Each becomes one message on stderr and exit code 1, never a traceback."""


class CocaError(Exception):
    """A mistake the user can mend: the message says what is wrong, what was found and what to do."""


class UnknownName(CocaError):  # noqa: N818 - the name is what the user reads in code that catches it
    """A dataset, model or preset of that name does not exist."""


class MissingFile(CocaError):  # noqa: N818
    """A file or folder that is needed is not there."""


class BadExample(CocaError):  # noqa: N818
    """A picture, video, caption or record cannot be read."""


class BadCheckpoint(CocaError):  # noqa: N818
    """A checkpoint is damaged, unsafe or does not fit the model."""


class MissingExtra(CocaError):  # noqa: N818
    """An optional package is needed and not installed."""
