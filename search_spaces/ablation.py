"""The paper's ablation, on any dataset: the full network, and it with one part removed.

Run:    python jobs/tune.py --dataset cub --space ablation --study NAME --policy.pruner none
        --policy.sampler random --budget.trials 30
Found:  2026-11-26, cub2010_dev, fold 1, three seeds of one setting (benchmarks/quality.py): full
        50.9, no DAB 41.4, no fusion 52.3, no channel attention 50.8, no SIT 50.4, no global branch
        51.2. Add a line a study: date, dataset, the rows' mean H on validation.

Each point is one of the six rows of docs/paper.md; a row drawn again is run with another seed. So
nothing is pruned and chance draws: a sampler that follows the best row leaves the others few seeds.
"""

from drmn.model.ablations import ABLATIONS
from drmn.space import Constants, Trial, Value

FULL: Constants = {
    "model.dab": True,
    "model.fusion": "add",
    "model.channel_attention": True,
    # The reading that every dataset has time for; for `joint` see cub.py.
    "model.sit": "attr",
    "model.global_branch": True,
}


def space(trial: Trial) -> Constants:
    """Remove one part or none: ask for one after the other until one is removed."""
    kept = dict(FULL)
    removals = [removal for preset in ABLATIONS.values() for removal in preset.items()]
    for asked, (name, removed) in enumerate(removals):
        # Keeping is there once for each row that is left, so that chance draws all rows alike.
        choices: list[Value] = [kept.pop(name)] * (len(removals) - asked) + [removed]
        if trial.suggest_categorical(name, choices) == removed:
            break
    return {**kept, "optim.epochs": 10, "optim.schedule": "cosine", "model.width": 256}
