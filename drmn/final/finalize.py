"""From a search to a tested model: confirm, decide, refit, test."""

from typing import Any

from drmn.data.images.catalogue import TRAINVAL
from drmn.data.splits import development
from drmn.experiment.baseline_cache import cached_baselines
from drmn.final.ablation import ablate
from drmn.final.baselines import refit_baselines
from drmn.final.config import ConfirmConfig, RefitConfig
from drmn.final.confirm_study import confirm
from drmn.final.context import Context
from drmn.final.decision import decide
from drmn.final.figures import judge_test
from drmn.final.refit import Refit, join_data, prepare_refit, refit
from drmn.final.result import FinalResult, openings


def finalize(
    context: Context,
    confirming: ConfirmConfig,
    refitting: RefitConfig,
    *,
    reopen: str = "",
    with_ablation: bool = False,
) -> FinalResult:
    """Confirm a search's winner, refit it on trainval, and judge it once on the test split.

    Each step has its record, so the same command resumes it after any end.

    `reopen` is the reason for opening the test split again; `with_ablation` trains the paper's
    ablation of the winner too.

    Raises:
        UserError: A step cannot be done; says what to do.
    """
    found = confirm(context, confirming)
    decision = decide(found, refitting)
    decision.write(context.out)
    rows = ablate(context, found) if with_ablation else []
    catalogue = join_data(context, decision, reopen)
    store = prepare_refit(context, catalogue)
    made = refit(context, decision, catalogue, store)
    return FinalResult(
        study=context.search.name,
        dataset=context.search.dataset,
        objective=context.search.objective,
        confirmation=found,
        decision=decision,
        test=judge_test(made),
        baselines=refit_baselines(_chosen_baselines(context), store),
        openings=openings(context),
        data=_data(made),
        ablation=rows,
        refit=made,
    )


def _chosen_baselines(context: Context) -> Any:
    search = context.search
    data = development.open_store(context.store, fold=search.fold)
    return cached_baselines(data, search.fold, search.results / "baselines")


def _data(made: Refit) -> dict[str, Any]:
    catalogue, seen = made.catalogue, made.networks[0].data.classes.seen
    trainval = sum(split == TRAINVAL for split in catalogue.splits)
    return {
        "digest": catalogue.digest,
        "features": made.store.name,
        "trainval": trainval,
        "test": len(catalogue.images) - trainval,
        "seen": int(seen.sum()),
        "unseen": int((~seen).sum()),
    }
