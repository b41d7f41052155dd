"""What a person's mistake looks like: one small hierarchy, each message one mendable sentence."""


class CurriculumRecError(Exception):
    """A mistake that the person who runs the program can mend; the command line prints it without a traceback."""


class OptionError(CurriculumRecError, ValueError):
    """An option does not exist, has the wrong type, or lies outside its range."""


class DataError(CurriculumRecError, ValueError):
    """The data cannot be read, or nothing usable is left of it."""


class RunError(CurriculumRecError):
    """A run directory is missing, occupied, or not what the command expects."""


class CheckpointError(RunError):
    """No checkpoint can be read, or its contents do not fit the model."""


class TrainingError(CurriculumRecError, ArithmeticError):
    """Training cannot go on, for example because the loss is not finite."""


class DataWarning(UserWarning):
    """Something in the data that is taken as it is, and that a person may have meant otherwise."""
