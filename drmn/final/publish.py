"""The result of a finalize in MLflow: figures, files, the models, and links from the search."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from drmn.experiment.model_export import pack, takes_photos
from drmn.experiment.trial_checkpoints import PACKAGE, trial_folder
from drmn.final.context import Context
from drmn.final.model_card import model_card
from drmn.final.result import FinalResult, model_folder
from drmn.io import atomic
from drmn.io.content import is_made, note_made
from drmn.search.analysis.pack_trials import best_state
from drmn.search.session import open_session
from drmn.search.trial_summary import FINAL, METADATA
from drmn.tracking import events
from drmn.tracking.names import registered_name
from drmn.tracking.package_files import BACKBONE_FILE
from drmn.tracking.spool import Spool

CARD = "MODEL_CARD.md"


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
        _link_search(context, result, files[0], session.spool)
        if not takes_photos(made.store):
            session.ship(context.console)
            return
        packages = [_pack(context, result, number) for number in range(len(made.networks))]
        session.ship(context.console, _models(result, key, card, packages))


def _link_search(context: Context, result: FinalResult, page: Path, spool: Spool) -> None:
    """Show the report and the model on the page of the search too; its record keeps the note."""
    study, refit = context.search.study, result.refit.plan.name
    name = registered_name(result.refit.plan.experiment)
    said = (
        f"\n\n**Finalized**: trial {result.decision.trial} was confirmed, refitted and tested "
        f"(study `{refit}`). The report is among the artifacts, `final/{page.name}`"
    )
    if takes_photos(result.refit.store):
        said += f"; the model is registered as [{name}](#/models/{name})"
    if study.user_attrs.get(FINAL) != f"{said}.":
        study.set_user_attr(FINAL, f"{said}.")
    key = study.user_attrs["key"]
    note = f"{study.user_attrs[METADATA]['note']}{said}."
    spool.put(*events.tags(key, {"mlflow.note.content": note}))
    spool.put(*events.artifact(key, page, "final"))


def _pack(context: Context, result: FinalResult, number: int) -> Path:
    """Pack a seed's network, unless it is there; return its folder.

    The first is the model: no seed is chosen by the test. The others share one backbone.
    """
    made = result.refit
    trained = made.networks[number]
    folder = trial_folder(made.plan.folder, trained.row.number) / PACKAGE
    folder = folder if number else model_folder(context.out)
    of = {
        "decision": result.decision.digest,
        "checkpoint": trained.row.checkpoint["sha256"],
        "features": made.store.name,
    }
    if is_made(folder, of):
        return folder
    context.say(f"packing the model of seed {number}: {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    state = best_state(made.plan.folder, trained.row)
    shared = made.plan.folder / BACKBONE_FILE if number else None
    pack(folder, trained.config, state, trained.data, made.store, rule=made.rule, shared=shared)
    note_made(folder, of)
    return folder


def _models(result: FinalResult, key: str, card: str, packages: Sequence[Path]) -> events.Keyed:
    """Return the event that logs the packed networks and registers the first."""
    figures = result.test.seeds
    packed = [
        {
            "run": f"{key}/{network.row.number:04d}",
            "name": f"{result.study}-refit" + (f"-seed{number}" if number else ""),
            "folder": str(package.absolute()),
            "metrics": {f"test/{name}": value for name, value in figures[number].items()},
            "step": network.row.best_epoch,
        }
        for number, (network, package) in enumerate(
            zip(result.refit.networks, packages, strict=True)
        )
    ]
    value = result.confirmation.plain()["value"]
    data = result.data["digest"]
    about = events.registered(result.refit.plan.experiment, data, value, refitted=True, card=card)
    return events.models(key, packed, about)
