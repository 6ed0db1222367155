"""Creation of a study, with what it inherits from others."""

from dataclasses import asdict

import optuna

from drmn.search.study import warm_start
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.enqueued import EnqueuedStudy
from drmn.search.study.plan import EnqueuedPlan, Plan, StudyPlan
from drmn.search.study.replay import HELD
from drmn.space_features import HeldFeatures, on_held_features


def create_study(plan: Plan, study: optuna.Study, held: HeldFeatures) -> AskTellStudy:
    """Return the study of `plan`; a new search inherits from its parent or warm start.

    Args:
        plan: The search or run.
        study: Its record.
        held: What the features hold: the space is asked for nothing that they lack.
    """
    failures = plan.resources.failures
    if isinstance(plan, EnqueuedPlan):
        return EnqueuedStudy(study, plan.base, plan.policy, plan.queue, max_failures=failures)
    if study.user_attrs.get(HELD) != asdict(held):
        study.set_user_attr(HELD, asdict(held))
    if isinstance(plan, StudyPlan):
        warm_start.inherit(
            study,
            plan.folder.parent,
            fork=plan.fork,
            warm_start=plan.warm_start,
            url=plan.storage,
        )
    space = on_held_features(plan.search_space, held)
    return AskTellStudy(study, space, plan.base, plan.policy, max_failures=failures)
