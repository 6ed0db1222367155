"""The settings of a run: frozen dataclasses, checked when made.

A dotted name (`optim.lr`) means the same field on the command line, in a search space, in the
record, in MLflow and in a report.
"""

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from drmn.fields import require, require_choices
from drmn.level_names import CLS, parse_levels

DatasetName = Literal["apy", "awa2", "cub", "demo", "own", "sun"]
Formula = Literal["mixture", "log_mixture", "bonus", "logits"]
FORMULAS: tuple[Formula, ...] = get_args(Formula)
Sit = Literal["joint", "batch", "attr", "none"]
Fusion = Literal["add", "concat", "none"]
Prototypes = Literal["normal", "words"]
AttributeScores = Literal["bilinear", "prototype", "own"]
GlobalInput = Literal["pooled", "cls"]
LossClasses = Literal["seen", "all"]
Sampling = Literal["shuffle", "balanced"]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
Tier = Literal["frozen", "finetuned"]
Augment = Literal["none", "crop", "color"]
Precision = Literal["auto", "fp32", "bf16"]
Kernel = Literal["auto", "fused", "plain"]
Scope = Literal["global", "local"]
THIRDS = 3
"""Parts of the training images of a refit, each held out once to carry gamma."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network, and each row of the paper's ablation as a setting (docs/paper.md)."""

    levels: str = "16+32"
    """Backbone levels to fuse, of those that the features hold: by stride, or by block (b4+b8;
    b-1 is the last block that they hold)."""
    fusion: Fusion = "add"
    """Fusion of levels: add, concat or none. Added to the last one, side by side, or the last one
    alone."""
    normalize: bool = True
    """Standardise channels and give every region the same length, before anything else."""
    width: int = 0
    """Channels of a region and of a prototype; 0 keeps those of the fused levels."""
    dab: bool = True
    """Dual attention; without it the attributes are read off the pooled regions."""
    channel_attention: bool = True
    gate_reduction: int = 16
    """How many times narrower the channel gate is inside."""
    prototypes: Prototypes = "normal"
    """Where attribute prototypes start: at random, or from the attributes' word vectors."""
    attribute_scores: AttributeScores = "bilinear"
    """How an attribute's score is read off its feature: by its prototype through a learned matrix,
    the prototype itself, or a separate vector that starts as the prototype."""
    sit: Sit = "joint"
    """Tokens of the transformer: joint, batch, attr or none. All attributes of all images (the
    paper's words), the batch for each attribute, the attributes of one image, or no transformer."""
    sit_width: int = 0
    """Channels inside the transformer; 0 for those of a region. A step of it costs as the square
    of its width, and it takes part in training alone."""
    sit_scope: Scope = "global"
    """With several workers: tokens of all of them, or of each worker's own images alone."""
    sit_layers: int = 1
    sit_heads: int = 4
    sit_feedforward: int = 0
    """Channels inside the transformer's feed-forward layers; 0 for those of a token."""
    sit_dropout: float = 0.5
    sit_embedding: bool = False
    """Add a learnt embedding of its attribute to each token of the transformer, which has nothing
    else that tells one attribute from another."""
    global_branch: bool = True
    global_input: GlobalInput = "pooled"
    """Input of the global branch: pooled (the mean of the fused regions), or cls (the class token
    of a transformer, where the features hold it: --levels cls+b4+b12)."""
    ensemble: Formula = "log_mixture"
    """How the branches are put together at test: their probabilities mixed, and gamma subtracted
    from the logarithm (log_mixture) or from the probability (mixture) of the seen classes; mixed
    with a bonus on unseen logits in gamma's place (bonus); or the logits mixed (logits)."""
    scale: float = 5.0
    """The paper's gamma: logits are scale² times a cosine."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "model.")
        maps = CLS not in parse_levels(self.levels, "model.levels")
        require("model.levels", self.levels, maps, "levels of maps; cls is for model.global_input")
        require("model.width", self.width, 0 <= self.width <= 4096, "in 0..4096")
        require("model.gate_reduction", self.gate_reduction, self.gate_reduction > 0, "positive")
        require("model.sit_layers", self.sit_layers, 0 < self.sit_layers <= 8, "in 1..8")
        require("model.sit_heads", self.sit_heads, self.sit_heads > 0, "positive")
        require("model.sit_width", self.sit_width, 0 <= self.sit_width <= 4096, "in 0..4096")
        ok = 0 <= self.sit_feedforward <= 16384
        require("model.sit_feedforward", self.sit_feedforward, ok, "in 0..16384")
        name = "model.sit_width" if self.sit_width else "model.width"
        tokens = self.sit_width or self.width
        divides = self.sit == "none" or tokens % self.sit_heads == 0
        require("model.sit_heads", self.sit_heads, divides, f"a divisor of {name}={tokens}")
        require("model.sit_dropout", self.sit_dropout, 0 <= self.sit_dropout < 1, "in [0, 1)")
        require("model.scale", self.scale, 0 < self.scale <= 20, "in (0, 20]")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights of the loss terms; the cross-entropy of the attribute branch has weight 1."""

    global_branch: float = 1.0
    """The paper's lambda_GC."""
    self_calibration: float = 0.0
    """lambda_SC: keeps probability on unseen classes; 0 uses none of them.

    Above 0 training uses the attributes of unseen classes; made for `loss.classes` all.
    """
    attribute_regression: float = 0.0
    """A sibling's term: mean squared error between attribute scores and class attributes."""
    classes: LossClasses = "seen"
    """Candidates of the cross-entropy: seen, or all, as self-calibration was made for."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "loss.")
        for item in fields(self):
            if item.name != "classes":
                value = getattr(self, item.name)
                require(f"loss.{item.name}", value, 0 <= value <= 100, "in [0, 100]")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How the weights are fitted."""

    name: Optimizer = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Schedule = "constant"
    warmup: float = 0.0
    """Epochs in which the learning rate rises from nothing, step by step."""
    epochs: int = 10
    batch_size: int = 32
    """Images of a step, of all workers together. Micro-batches included."""
    sampling: Sampling = "shuffle"
    """Images of an epoch: shuffle (each once), or balanced (as many draws, evenly over classes)."""
    averaging: float = 0.0
    """Decay a step of the moving average of weights that is validated and kept; 0 for none."""
    views: bool = True
    """Train on augmented views too, not on the plain ones alone: stored ones (`--views`), or in the
    finetuned tier those of `finetune.augment`."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "optim.")
        require("optim.lr", self.lr, 0 < self.lr < 10, "in (0, 10)")
        require("optim.weight_decay", self.weight_decay, 0 <= self.weight_decay < 1, "in [0, 1)")
        require("optim.warmup", self.warmup, self.warmup >= 0, "0 or more")
        require("optim.epochs", self.epochs, self.epochs > 0, "positive")
        require("optim.batch_size", self.batch_size, self.batch_size > 1, "at least 2")
        require("optim.averaging", self.averaging, 0 <= self.averaging < 1, "in [0, 1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """How the backbone is fine-tuned, in the finetuned tier."""

    lr: float = 1e-5
    """Learning rate of the backbone; `optim.lr` is that of all else."""
    unfreeze_every: int = 0
    """Epochs after which one more stage of the backbone is trained, from its top; before the first
    the head is trained alone. 0 trains all of it from the start."""
    augment: Augment = "crop"
    """Augmentation of photos: none (the middle), crop (random, half of them mirrored), or color
    (that with brightness, contrast and saturation changed too)."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "finetune.")
        require("finetune.lr", self.lr, 0 <= self.lr < 10, "in [0, 10)")
        every = self.unfreeze_every
        require("finetune.unfreeze_every", every, every >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeConfig:
    """How a step is computed; the mathematics is the same but for rounding and micro-batches."""

    precision: Precision = "auto"
    """Precision of training: auto (the faster one in a short test at the start), fp32 or bf16."""
    attention: Kernel = "auto"
    """Kernel of the transformer: auto (by the same test), fused (memory linear in tokens) or plain
    (a table of all pairs)."""
    micro_batch: int = 0
    """Images that a worker takes at a time, gradients summed up to a batch; 0 for all. The
    transformer and self-calibration then see a micro-batch."""
    checkpointing: bool = False
    """Compute the backbone's activations again instead of keeping them: less memory, more time."""
    compile: bool = False
    """Run the backbone through torch.compile."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "compute.")
        ok = self.micro_batch == 0 or self.micro_batch > 1
        require("compute.micro_batch", self.micro_batch, ok, "0 or at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedConfig:
    """A rule that was chosen on other classes, to judge H by beside the best own rule."""

    beta: float = 0.0
    """Its weight of the global branch."""
    kept: float = -1.0
    """Its share of held-out seen images that are classified as seen: gamma follows; -1 for none."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("carried.beta", self.beta, 0 <= self.beta < 1, "in [0, 1)")
        kept = self.kept == -1 or 0 <= self.kept <= 1
        require("carried.kept", self.kept, kept, "in [0, 1], or -1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides the outcome of one run on given features, the seed included."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    tier: Tier = "frozen"
    """Tier: frozen (stored features) or finetuned (photos)."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    seed: int = 0
    fold: int = 1
    """Official division into train and validation classes, 1 to 3."""
    block: int = 0
    """Random division of the same classes, in place of the fold's; 0 for the fold's."""
    held_out: int = 0
    """Third of the training images that a refit holds out, 1 to 3; 0 for none."""
    carried: CarriedConfig = field(default_factory=CarriedConfig)

    def __post_init__(self) -> None:
        """Check each value."""
        require_choices(self, "")
        require("seed", self.seed, 0 <= self.seed < 2**31, "in 0..2147483647")
        require("fold", self.fold, self.fold in (1, 2, 3), "1, 2 or 3")
        require("block", self.block, 0 <= self.block < 2**31, "in 0..2147483647")
        require("held_out", self.held_out, 0 <= self.held_out <= THIRDS, f"in 0..{THIRDS}")
