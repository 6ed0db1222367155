"""Why MLflow's store does not take what it is sent, in words that say what to do."""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

import sqlalchemy.exc

from drmn.errors import UserError

CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
"""Variables of a person's credentials; MLflow's clients read them."""
_OF_CODES = {
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "CUSTOMER_UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
}
"""HTTP's status of MLflow's own error codes."""


class StoreProblem(NamedTuple):
    """Why a store does not take entries."""

    text: str
    """The part of a sentence after "MLflow at URI"."""
    lasting: bool = False
    """Whether it stays until somebody does something about it."""


def explain(problem: Exception) -> StoreProblem:
    """Return what an exception of MLflow's client, or of its creation, means."""
    status = _status(problem)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return refusal(status, str(problem))
    if isinstance(problem, UserError):
        return StoreProblem(str(problem).rstrip("."), lasting=True)
    missing = (ImportError, sqlalchemy.exc.NoSuchModuleError, sqlalchemy.exc.ArgumentError)
    if isinstance(problem, missing) or type(problem).__name__.endswith("URIException"):
        return StoreProblem(f"no client of it can be made ({_line(problem)})", lasting=True)
    if isinstance(problem, LookupError | TypeError | AttributeError):  # of code, not of a store
        return StoreProblem(f"it takes nothing ({type(problem).__name__}: {_line(problem)})")
    return away(_line(problem))


def refusal(status: int, said: str) -> StoreProblem:
    """Return the problem of a server that has answered 401 or 403, with these words."""
    if status == HTTPStatus.UNAUTHORIZED:
        return StoreProblem(
            f"it refuses the credentials (HTTP 401): set {CREDENTIALS}", lasting=True
        )
    first = (said.strip().splitlines() or [""])[0][:200].rstrip(".")
    return StoreProblem(
        f"it refuses the credentials (HTTP 403: {first}): set {CREDENTIALS} to those of somebody "
        "who may write there",
        lasting=True,
    )


def away(reason: str) -> StoreProblem:
    """Return the problem of a store that does not answer, for a reason that may pass."""
    return StoreProblem(f"it does not answer ({reason.rstrip('.')})")


def _status(problem: Any) -> int:
    """Return HTTP's status of an exception of MLflow's client, or of a transfer of files; or 0."""
    code = getattr(problem, "error_code", "")
    of_code = _OF_CODES.get(code, 0) if isinstance(code, str) else 0
    return int(of_code or getattr(getattr(problem, "response", None), "status_code", 0) or 0)


def _line(problem: BaseException) -> str:
    """Return the first line of what went wrong at the root: libraries wrap it many times."""
    said = str(getattr(problem, "orig", None) or problem).strip()
    if system := re.search(r"\[Errno -?\d+\] ([\w ]+)", said):
        return system[1]
    return (said.splitlines() or [type(problem).__name__])[0][:200]
