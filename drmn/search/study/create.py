"""Creation of a study, with what it inherits from others."""

import optuna

from drmn.search.study import warm_start
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.enqueued import EnqueuedStudy
from drmn.search.study.plan import EnqueuedPlan, Plan, StudyPlan
from drmn.search.study.replay import HELD
from drmn.space_levels import on_held_levels


def create_study(plan: Plan, study: optuna.Study, levels: str) -> AskTellStudy:
    """Return the study of `plan`; a new search inherits from its parent or warm start.

    Args:
        plan: The search or run.
        study: Its record.
        levels: Levels that the features hold: the space is asked for no other.
    """
    failures = plan.resources.failures
    if isinstance(plan, EnqueuedPlan):
        return EnqueuedStudy(study, plan.base, plan.policy, plan.queue, max_failures=failures)
    if study.user_attrs.get(HELD) != levels:
        study.set_user_attr(HELD, levels)
    if isinstance(plan, StudyPlan):
        warm_start.inherit(
            study,
            plan.folder.parent,
            fork=plan.fork,
            warm_start=plan.warm_start,
            url=plan.storage,
        )
    space = on_held_levels(plan.search_space, levels)
    return AskTellStudy(study, space, plan.base, plan.policy, max_failures=failures)
