"""Creation of a study, with what it inherits from others."""

import optuna

from drmn.search.study import warm_start
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.enqueued import EnqueuedStudy
from drmn.search.study.plan import EnqueuedPlan, Plan, StudyPlan


def create_study(plan: Plan, study: optuna.Study) -> AskTellStudy:
    """Return the study of `plan`; a new search inherits from its parent or warm start."""
    failures = plan.resources.failures
    if isinstance(plan, EnqueuedPlan):
        return EnqueuedStudy(study, plan.base, plan.policy, plan.queue, max_failures=failures)
    if isinstance(plan, StudyPlan):
        warm_start.inherit(
            study,
            plan.folder.parent,
            fork=plan.fork,
            warm_start=plan.warm_start,
            url=plan.storage,
        )
    return AskTellStudy(study, plan.search_space, plan.base, plan.policy, max_failures=failures)
