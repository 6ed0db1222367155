"""The model card of a refit: what it is, how good it is, and what it is not for."""

from collections.abc import Sequence

from drmn.data import specs
from drmn.final.result import FinalResult

COLUMNS = ("T1", "U", "S", "H", "AUSUC")
LIMITS = """## Limits

Classes are those of the dataset and any described by the same attributes; photos of anything else
get one of them too. Probabilities are not calibrated for other data.
"""


def model_card(result: FinalResult) -> str:
    """Return a model card in Markdown."""
    title = (
        f"# DRMN on {specs.spec(result.dataset).name}\n\n"
        "A network for generalised zero-shot recognition (Dual Relation Mining Network), refitted "
        f"on all of trainval from the winner of study `{result.study}`, trial "
        f"{result.decision.trial}."
    )
    return "\n\n".join([title, _figures(result), _choice(result), _data(result), LIMITS])


def _figures(result: FinalResult) -> str:
    mean, best = result.test.mean(), result.baseline

    def spread(name: str) -> str:
        return f"{100 * mean[name]['mean']:.1f} ± {100 * mean[name]['sd']:.1f}"

    count = len(result.test.seeds)
    own = _row(f"DRMN, {count} seed{'s' * (count > 1)}", [spread(name) for name in COLUMNS])
    rival = f"{best.name}, same features and protocol"
    again = sum(entry.again for entry in result.openings)
    times = f"{len(result.openings)} time{'s' * (len(result.openings) != 1)}"
    return (
        "## Test figures, percent\n\n"
        f"{_row('', COLUMNS)}\n|---{'|---:' * len(COLUMNS)}|\n{own}\n"
        f"{_row(rival, [f'{100 * best.test[name]:.1f}' for name in COLUMNS])}\n\n"
        f"Mean ± standard deviation over seeds. Gamma ({result.decision.rule.formula}) was carried "
        "from validation; the best gamma for these very images would give H "
        f"{spread('oracle_H')}. The test split was opened {times}"
        f"{f', {again} of them again' if again else ''}."
    )


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _choice(result: FinalResult) -> str:
    confirm = result.confirmation.plain()
    low, high = confirm["interval"]
    return (
        f"## How it was chosen\n\n{result.objective} of the settings on {confirm['fresh_blocks']} "
        f"random divisions of the classes that no choice saw: {100 * confirm['value']:.1f} (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f}); the search's own best value, which is "
        f"optimistic, was {100 * confirm['search_value']:.1f}."
    )


def _data(result: FinalResult) -> str:
    data, weight = result.data, result.decision.settings["loss.self_calibration"]
    used = "used the attributes" if weight else "used no attribute"
    return (
        f"## Data and protocol\n\n- Data digest `{data['digest']}`; {data['trainval']:,} training "
        f"and {data['test']:,} test images of {data['seen']} seen and {data['unseen']} unseen "
        "classes.\n- Official split; accuracies are averaged over classes. Licence: that of the "
        f"dataset, whose images the weights derive from.\n- Training {used} of unseen classes "
        f"(self-calibration weight {weight:g}); gamma uses them, without any of their images."
    )
