"""From a search to a tested model: confirm, decide, refit, test, and log it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drmn.data.images.catalogue import TRAINVAL
from drmn.data.splits import development
from drmn.experiment.baseline_cache import cached_baselines
from drmn.experiment.model_export import pack, takes_photos
from drmn.final.baselines import refit_baselines
from drmn.final.config import ConfirmConfig, RefitConfig
from drmn.final.confirm_study import confirm
from drmn.final.context import Context
from drmn.final.decision import decide
from drmn.final.figures import judge_test
from drmn.final.model_card import model_card
from drmn.final.refit import Refit, join_data, prepare_refit, refit
from drmn.final.result import FinalResult, model_folder, openings
from drmn.io import atomic
from drmn.io.content import is_made, note_made
from drmn.search.analysis.export_best import best_state
from drmn.search.session import open_session
from drmn.tracking import events

CARD = "MODEL_CARD.md"


def finalize(
    context: Context,
    confirming: ConfirmConfig,
    refitting: RefitConfig,
    *,
    reopen: str = "",
) -> FinalResult:
    """Confirm a search's winner, refit it on trainval, and judge it once on the test split.

    Each step has its record, so the same command resumes it after any end.

    `reopen` is the reason for opening the test split again.

    Raises:
        UserError: A step cannot be done; says what to do.
    """
    found = confirm(context, confirming)
    decision = decide(found, refitting)
    decision.write(context.out)
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


def publish(context: Context, result: FinalResult, files: Sequence[Path]) -> None:
    """Pack the refitted model with its card, and log figures, model and files to MLflow."""
    card, made = model_card(result), result.refit
    atomic.write(context.out / CARD, card)
    with open_session(made.plan, made.store, made.catalogue, context.console) as session:
        key = session.logger.key
        figures = result.test.mean()
        flat = {f"test/{name}": each["mean"] for name, each in figures.items()}
        flat |= {f"test/{name}_sd": each["sd"] for name, each in figures.items()}
        for line in result.baselines:
            flat[f"test/{line.name}_H"], flat[f"test/{line.name}_T1"] = (
                line.test["H"],
                line.test["T1"],
            )
        run, event = events.metrics(key, flat, 0)
        session.spool.put(f"{run}#test", event)
        session.spool.put(*events.tags(key, {"mlflow.note.content": card}))
        for file in (context.out / CARD, *files):
            session.spool.put(*events.artifact(key, file, "final"))
        if takes_photos(made.store):
            _pack(context, result)
            session.spool.put(*_model(context, result, key, card))
        session.ship(context.console)


def _pack(context: Context, result: FinalResult) -> None:
    """Pack the first seed's network, unless it is there; no seed is chosen by the test."""
    made, folder = result.refit, model_folder(context.out)
    first = made.networks[0]
    of = {
        "decision": result.decision.digest,
        "checkpoint": first.row.checkpoint["sha256"],
        "features": made.store.name,
    }
    if is_made(folder, of):
        return
    context.say(f"packing the model: {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    state = best_state(made.plan.folder, first.row)
    pack(folder, first.config, state, first.data, made.store, rule=made.rule)
    note_made(folder, of)


def _model(context: Context, result: FinalResult, key: str, card: str) -> events.Keyed:
    """Return the event that registers the packed model."""
    row = result.refit.networks[0].row
    told = {
        "run": f"{key}/{row.number:04d}",
        "name": f"{result.study}-refit",
        "folder": str(model_folder(context.out).absolute()),
        "metrics": {f"test/{k}": v["mean"] for k, v in result.test.mean().items()},
        "step": row.best_epoch,
    }
    value = result.confirmation.plain()["value"]
    data = result.data["digest"]
    about = events.registered(result.dataset, data, value, refitted=True, card=card)
    return events.models(key, [told], about)
