"""A study as it begins, with what it takes over from others."""

import optuna

from drmn.search import heritage
from drmn.search.plan import Plan
from drmn.search.study import Record
from drmn.space import load


def begun(plan: Plan, study: optuna.Study) -> Record:
    """Return the record of `plan` in a study, which takes over what it is to if it is new."""
    heritage.begin(
        study,
        plan.folder.parent,
        fork=plan.fork,
        warm_start=plan.warm_start,
        url=plan.storage,
    )
    return Record(study, load(plan.space), plan.base, plan.policy)
