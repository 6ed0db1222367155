"""The settings of a finalize: how a winner is confirmed, and how often it is refitted."""

from dataclasses import dataclass

from drmn.fields import require


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmConfig:
    """How the winner of a search is confirmed."""

    candidates: int = 5
    """Settings of the search that are compared: the best by its model, not the luckiest epochs."""
    blocks: int = 10
    """Fresh blocks at most: 10 or 6 for a test of whether the winner is clear, or 2."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("confirm.candidates", self.candidates, self.candidates > 0, "positive")
        require("confirm.blocks", self.blocks, self.blocks in (2, 6, 10), "2, 6 or 10")


@dataclass(frozen=True, kw_only=True, slots=True)
class RefitConfig:
    """How the winner is trained on all of trainval."""

    seeds: int = 3
    """Networks that are trained; figures are their mean and standard deviation."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("refit.seeds", self.seeds, 1 <= self.seeds <= 100, "in 1..100")
