"""A study as it begins, with what it takes over from others."""

import optuna

from drmn.search.study import warm_start
from drmn.search.study.plan import Plan
from drmn.search.study.record import Record
from drmn.space import load


def begun(plan: Plan, study: optuna.Study) -> Record:
    """Return the record of `plan` in a study, which takes over what it is to if it is new."""
    warm_start.begin(
        study,
        plan.folder.parent,
        fork=plan.fork,
        warm_start=plan.warm_start,
        url=plan.storage,
    )
    return Record(study, load(plan.space), plan.base, plan.policy)
