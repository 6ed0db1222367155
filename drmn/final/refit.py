"""The refit: the decided settings trained on all of trainval, and on it without each third."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from drmn.config import THIRDS, RunConfig
from drmn.data.images import catalogue as tables
from drmn.data.images.catalogue import Catalogue
from drmn.data.splits.development import Fold, Images
from drmn.errors import DataError, StudyError
from drmn.evaluation.ensemble import Rule
from drmn.evaluation.validation import predict, seen_leads
from drmn.experiment.open_data import open_run_data
from drmn.final.context import Context
from drmn.final.decision import Decision
from drmn.final.refit_data import open_refit
from drmn.final.run_queue import Queue, run_queue
from drmn.io import atomic
from drmn.model.finetuned import Network
from drmn.prepare.features import prepare
from drmn.search.analysis.pack_trials import best_state
from drmn.search.study.plan import EnqueuedPlan
from drmn.search.trial_summary import TrialSummary
from drmn.training.loop import LAST_EPOCH, assemble

NOTE = (
    "Refit of a search's winner: its settings trained on all classes and images of trainval, "
    "and, to carry gamma, on it without each third of its images. The test split is judged once."
)
DATA = "data"
"""Folder of the joined data, in that of what a finalize makes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trained:
    """A network of the refit, and the data it is judged on."""

    row: TrialSummary
    config: RunConfig
    network: Network
    data: Fold[Images]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refit:
    """The networks of a refit, and the rule for them."""

    networks: Sequence[Trained]
    """One for each seed."""
    rule: Rule
    """The carried rule, with gamma for these classes."""
    store: Path
    catalogue: Catalogue
    plan: EnqueuedPlan
    """Plan of its study."""


def join_data(context: Context, decision: Decision, reopen: str = "") -> Catalogue:
    """Open the test split, or return what this very decision has opened before.

    Args:
        context: The search and its features.
        decision: What was decided; its digest is in the ledger.
        reopen: Reason of a second opening, if it is one.

    Raises:
        DataError: The split was opened before, for another decision or study.
    """
    folder, search = context.out / DATA, context.search
    opened = folder / f"{decision.digest}.opened"
    if opened.is_file():
        return _with_files(tables.read(folder), context, folder)
    purpose = f"{reopen or 'the one test of the confirmed winner'} (decision {decision.digest})"
    found = open_refit(
        context.catalogue,
        search.results,
        study=search.name,
        purpose=purpose,
        again=bool(reopen),
    )
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder, found)
    atomic.write(folder / "files.txt", "".join(f"{path}\n" for path in found.files))
    atomic.write(opened, "")
    return found


def _with_files(known: Catalogue, context: Context, folder: Path) -> Catalogue:
    files = [Path(line) for line in (folder / "files.txt").read_text().splitlines()]
    places = context.catalogue.places()  # the data may have moved since
    own = [places.get(name, file) for name, file in zip(known.images, files, strict=True)]
    return replace(known, files=tuple(own))


def prepare_refit(context: Context, catalogue: Catalogue) -> Path:
    """Return the feature store of trainval and test, made if it is not there.

    Raises:
        DataError: The features are of an encoding that is fitted to a fold.
    """
    config = context.search.request().features
    if config.encoding != "bf16":
        raise DataError(
            f"--encoding {config.encoding}: these features were fitted to the training images of "
            "a fold; search with --encoding bf16 to finalize."
        )
    with context.progress(context.console) as start:
        root = context.search.results / "features"
        return prepare(catalogue, config, root, start=start)


def refit(context: Context, decision: Decision, catalogue: Catalogue, store: Path) -> Refit:
    """Train the refit's networks, or resume them, and carry the rule to their classes.

    Raises:
        StudyError: It was stopped, or training failed.
    """
    queue: list[dict[str, Any]] = [{"seed": seed} for seed in range(decision.seeds)]
    queue += [{"held_out": number} for number in range(1, THIRDS + 1)]
    names = [f"refit, seed {seed}" for seed in range(decision.seeds)]
    names += [f"refit without third {number}, to carry gamma" for number in range(1, THIRDS + 1)]
    settings = [{**decision.settings, **own} for own in queue]
    basis = {"decision": decision.digest}
    plan = context.plan(f"refit-{decision.digest[:8]}", LAST_EPOCH, settings, basis, NOTE)
    trainings = Queue(
        plan=plan,
        names=names,
        purpose="refit on trainval",
        step="The refit",
        store=store,
        catalogue=catalogue,
    )
    rows = [row for row, _ in run_queue(context, trainings)]
    for row in rows:
        if row.state == "FAIL":
            raise StudyError(f"{names[row.number]} failed: {row.cause}.")
    every = [_opened(plan.folder, row, store, catalogue) for row in rows]
    rule = _carried(decision, every[decision.seeds :])
    return Refit(
        networks=every[: decision.seeds],
        rule=rule,
        store=store,
        catalogue=catalogue,
        plan=plan,
    )


def _opened(study: Path, row: TrialSummary, store: Path, catalogue: Catalogue) -> Trained:
    """Return a trained network of the refit, from its checkpoint."""
    config, data, backbone = open_run_data(row.settings, store, catalogue)
    network = assemble(config, data, backbone)
    network.load_state_dict(best_state(study, row)["model"])
    return Trained(row=row, config=config, network=network, data=data)


def _carried(decision: Decision, thirds: Sequence[Trained]) -> Rule:
    """Return the rule whose gamma keeps the decided share of held-out images of seen classes.

    Each third is judged by a network that was not trained on it. No test image is looked at.
    """
    plain = Rule(decision.rule.formula, decision.rule.beta)
    leads = []
    for each in thirds:
        made = predict(each.config, each.network, [each.data.val_seen], each.data.classes)
        leads.append(seen_leads(made, each.data.classes.seen, plain))
    return decision.rule.rule(torch.cat(leads))
