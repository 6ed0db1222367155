"""A study as it begins, with what it takes over from others."""

import optuna

from drmn.search.study import warm_start
from drmn.search.study.plan import StudyPlan
from drmn.search.study.record import StudyRecord
from drmn.space import load


def create_record(plan: StudyPlan, study: optuna.Study) -> StudyRecord:
    """Return the record of `plan` in a study, which takes over what it is to if it is new."""
    warm_start.inherit(
        study,
        plan.folder.parent,
        fork=plan.fork,
        warm_start=plan.warm_start,
        url=plan.storage,
    )
    return StudyRecord(study, load(plan.space), plan.base, plan.policy)
