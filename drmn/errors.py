"""Mistakes that one sentence explains: a job prints it, without a traceback, and exits with 2."""


class UserError(ValueError):
    """A mistake of the user's; its text names the file or setting, the value and the remedy."""


class ConfigError(UserError):
    """A setting that is unknown, of another type or out of range."""


class DataError(UserError):
    """Files that are missing, damaged, mixed up or of another content than their name."""


class StoreFaultError(DataError):
    """Files that trials read turned out to be damaged or gone; no trial is to blame for it."""


class StudyError(UserError):
    """A study that cannot be started or resumed as asked."""


def last_line(problem: BaseException) -> str:
    """Return the last line of an exception's message; its type if that is empty.

    Ray wraps the exception of a worker in another, as its `cause`: that one is used.
    """
    inner = getattr(problem, "cause", None) or problem
    said = str(inner).strip().splitlines()
    return said[-1] if said else type(inner).__name__
