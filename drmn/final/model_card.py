"""The model card of a refit: what it is, how good it is, and what it is not for."""

from drmn.data import specs
from drmn.final.result import FinalResult


def model_card(result: FinalResult) -> str:
    """Return a model card in Markdown."""
    test, best, settings = result.test.mean(), result.baseline, result.decision.settings
    confirm = result.confirmation.plain()
    low, high = confirm["interval"]

    def percent(name: str) -> str:
        return f"{100 * test[name]['mean']:.1f} ± {100 * test[name]['sd']:.1f}"

    again = sum(entry.again for entry in result.openings)
    return f"""# DRMN on {specs.spec(result.dataset).name}

A network for generalised zero-shot recognition (Dual Relation Mining Network), refitted on all of
trainval from the winner of study `{result.study}`, trial {result.decision.trial}.

## Test figures, percent

| | T1 | U | S | H | AUSUC |
|---|---|---|---|---|---|
| DRMN, {len(result.test.seeds)} seeds | {percent("T1")} | {percent("U")} | {percent("S")} | \
{percent("H")} | {percent("AUSUC")} |
| {best.name}, same features and protocol | {100 * best.test["T1"]:.1f} | {
        100 * best.test["U"]:.1f} | \
{100 * best.test["S"]:.1f} | {100 * best.test["H"]:.1f} | {100 * best.test["AUSUC"]:.1f} |

Mean ± standard deviation over seeds. Gamma ({result.decision.rule.formula}) was carried from
validation; the best gamma for these very images would give H {percent("oracle_H")}. The test split
was opened {len(result.openings)} time{"s" * (len(result.openings) != 1)}\
{f", {again} of them again" if again else ""}.

## How it was chosen

{result.objective} of the settings on {confirm["fresh_blocks"]} random divisions of the classes that
no choice saw: {100 * confirm["value"]:.1f} (95 % interval {100 * low:.1f} to {100 * high:.1f}); the
search's own best value, which is optimistic, was {100 * confirm["search_value"]:.1f}.

## Data and protocol

- Data digest `{result.data["digest"]}`; {result.data["trainval"]:,} training and \
{result.data["test"]:,} test images of {result.data["seen"]} seen and {
        result.data["unseen"]
    } unseen \
classes.
- Official split; accuracies are averaged over classes. Licence: that of the dataset, whose images
  the weights derive from.
- Self-calibration weight {settings["loss.self_calibration"]:g}: \
{
        "training used the attributes of the unseen classes"
        if settings["loss.self_calibration"]
        else "training used no attribute of an unseen class"
    }; gamma uses them, without any of their images.

## Limits

Classes are those of the dataset and any described by the same attributes; photos of anything else
get one of them too. Probabilities are not calibrated for other data.
"""
