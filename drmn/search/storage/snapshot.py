"""A record in SQLite as it is now, read without Optuna's storage.

Optuna's storage takes half a CPU-second to open, for SQLAlchemy and Alembic's check, and writes
while it does. A look at a study costs little and changes nothing (docs/startup.md).
"""

import json
import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

SCHEMA = (12,)
"""Versions of Optuna's tables that are read here."""
NUMBERS: Mapping[str, float] = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""Values that are not finite, by Optuna's names of them."""


def snapshot(file: Path, name: str) -> optuna.Study | None:
    """Return a study of a file as it is now, in memory: it follows no later change.

    Args:
        file: The record.
        name: The study's name in it.

    Returns:
        None if the file's tables are of another version of Optuna, or it has no such study.

    Raises:
        sqlite3.DatabaseError: It is no database, or lacks a table.
    """
    with closing(sqlite3.connect(_uri(file), uri=True)) as database:
        database.execute("BEGIN")  # all reads are of one moment
        schemas = [
            schema for (schema,) in database.execute("SELECT schema_version FROM version_info")
        ]
        found = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,))
        studies = [study for (study,) in found]
        if not studies or not set(schemas) <= set(SCHEMA):
            return None
        return _Reader(database, studies[0]).study(name)


def _uri(file: Path) -> str:
    """Return how SQLite opens a file that is only read.

    Where nobody else has it open, it would create a file beside it to tell others; in a folder that
    cannot be written to, it need not.
    """
    alone = not file.with_name(f"{file.name}-wal").exists()
    still = "&immutable=1" if alone and not os.access(file.parent, os.W_OK) else ""
    return f"{file.absolute().as_uri()}?mode=ro{still}"


class _Reader:
    def __init__(self, database: sqlite3.Connection, study: int) -> None:
        self.database, self.id = database, study

    def study(self, name: str) -> optuna.Study:
        """Return the study in memory."""
        storage = InMemoryStorage()
        query = "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective"
        directions = [StudyDirection[row[0]] for row in self.database.execute(query, (self.id,))]
        made = storage.create_new_study(directions, name)
        for kind, keep in (
            ("user", storage.set_study_user_attr),
            ("system", storage.set_study_system_attr),
        ):
            query = f"SELECT key, value_json FROM study_{kind}_attributes WHERE study_id = ?"  # noqa: S608 - no outside text
            for key, value in self.database.execute(query, (self.id,)):
                keep(made, key, json.loads(value))
        for trial in self._trials():
            storage.create_new_trial(made, trial)
        return optuna.load_study(study_name=name, storage=storage)

    def _trials(self) -> list[FrozenTrial]:
        user = self._of_trials("trial_user_attributes", "key, value_json", json.loads)
        system = self._of_trials("trial_system_attributes", "key, value_json", json.loads)
        values = self._of_trials("trial_values", "objective, value, value_type", _number)
        steps = "step, intermediate_value, intermediate_value_type"
        intermediate = self._of_trials("trial_intermediate_values", steps, _number)
        given = "param_name, distribution_json, param_value"
        params = self._of_trials("trial_params", given, _parameter)
        query = (
            "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials"
            " WHERE study_id = ? ORDER BY number"
        )
        return [
            FrozenTrial(
                number=number,
                trial_id=trial,
                state=TrialState[state],
                value=None,
                values=[values[trial][each] for each in sorted(values[trial])] or None,
                datetime_start=_moment(start),
                datetime_complete=_moment(complete),
                params={name: value for name, (value, _) in params[trial].items()},
                distributions={name: among for name, (_, among) in params[trial].items()},
                user_attrs=user[trial],
                system_attrs=system[trial],
                intermediate_values=intermediate[trial],
            )
            for trial, number, state, start, complete in self.database.execute(query, (self.id,))
        ]

    def _of_trials(
        self, table: str, columns: str, read: Callable[..., Any]
    ) -> Mapping[int, dict[Any, Any]]:
        """Return a table's rows by trial and first column; `read` is given the other columns."""
        rows: dict[int, dict[Any, Any]] = defaultdict(dict)
        for trial, key, *cells in self.database.execute(
            f"SELECT {table}.trial_id, {columns} FROM {table} JOIN trials USING (trial_id)"  # noqa: S608 - no outside text
            f" WHERE study_id = ? ORDER BY 1, {table}.rowid",
            (self.id,),
        ):
            rows[trial][key] = read(*cells)
        return rows


def _number(value: float | None, kind: str) -> float:
    return NUMBERS[kind] if value is None else float(value)


def _parameter(distribution: str, value: float) -> tuple[Any, BaseDistribution]:
    among = json_to_distribution(distribution)
    return among.to_external_repr(value), among


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
