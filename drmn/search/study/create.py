"""Creation of a study, with what it inherits from others."""

import optuna

from drmn.search.study import warm_start
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.plan import StudyPlan
from drmn.space import load


def create_study(plan: StudyPlan, study: optuna.Study) -> AskTellStudy:
    """Return the study of `plan`; a new one inherits from its parent or warm start."""
    warm_start.inherit(
        study,
        plan.folder.parent,
        fork=plan.fork,
        warm_start=plan.warm_start,
        url=plan.storage,
    )
    return AskTellStudy(study, load(plan.space), plan.base, plan.policy)
