"""The verdict of a finalize in one paragraph: what to use, how good it is, and how sure that is."""

from drmn.final.result import FinalResult


def verdict(result: FinalResult) -> str:
    """Return what to use, how good it is and how sure that is."""
    return " ".join([_chosen(result), _tested(result), _estimated(result)])


def _chosen(result: FinalResult) -> str:
    found = result.confirmation
    plain, trial = found.plain(), result.decision.trial
    blocks = plain["fresh_blocks"]
    if len(found.candidates) == 1:
        return f"Trial {trial} was the only candidate."
    if plain["clear"]:
        tested = [r for r in found.verdict.rivals if not r.dropped]
        dropped = len(found.verdict.rivals) - len(tested)
        more = f"; {dropped} more were dropped early, clearly behind" if dropped else ""
        return (
            f"Trial {trial} is a clear winner: it beats {_count(len(tested), 'rival')} on {blocks} "
            f"fresh divisions of the classes (exact sign-flip test, false claims < 5 %){more}."
        )
    tied = ", ".join(map(str, plain["tied"]))
    return (
        f"Trials {tied} are a tie on {blocks} fresh divisions of the classes; trial {trial} is the "
        "cheapest of them an epoch, and was taken."
    )


def _tested(result: FinalResult) -> str:
    test, best = result.test.mean(), result.baseline
    gain = {name: 100 * (test[name]["mean"] - best.test[name]) for name in ("T1", "H")}
    beaten = "beats" if min(gain.values()) > 0 else "does not beat"
    return (
        f"On the test split it reaches T1 {100 * test['T1']['mean']:.1f} and H "
        f"{100 * test['H']['mean']:.1f} (U {100 * test['U']['mean']:.1f}, S "
        f"{100 * test['S']['mean']:.1f}), mean of {_count(len(result.test.seeds), 'seed')}, and "
        f"{beaten} {best.name}, the strongest baseline by validation, in both "
        f"({gain['T1']:+.1f} T1, {gain['H']:+.1f} H)."
    )


def _estimated(result: FinalResult) -> str:
    test, estimate = result.test.mean(), result.confirmation.plain()["estimate"]
    lost = 100 * (test["oracle_H"]["mean"] - test["H"]["mean"])
    return (
        f"Carrying gamma from validation lost {lost:.1f} points of H to the best gamma for the "
        f"test images; the estimate of H before the test was {100 * estimate['H']:.1f}."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
