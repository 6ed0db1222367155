"""The levels of a backbone on the terminal."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from drmn.data.feature_config import FeatureConfig
from drmn.level_names import CLS
from drmn.model.timm_levels import level_shapes, native_size
from drmn.report.say import say


def show(console: Console, config: FeatureConfig, image_size: int) -> None:
    """Print a line for each level that `--levels` may name; no weights are needed.

    Args:
        console: The terminal.
        config: The backbone.
        image_size: Pixels a side where `config` names none; 0 for the backbone's own.
    """
    size = config.image_size or image_size or native_size(config)
    table = Table(box=None)
    for name in ("level", "channels", "regions"):
        table.add_column(name, justify="left" if name == "level" else "right")
    found = level_shapes(replace(config, image_size=size))
    for level in found:
        table.add_row(str(level.name), str(level.channels), f"{level.height} x {level.width}")
    console.print(table)
    names = [str(level.name) for level in found if level.name != CLS]
    some = "+".join(names[-2:]) if names[0].isdecimal() else "+".join(names[3::4] or names)
    last = "" if names[0].isdecimal() else "; b-1 is the last"
    if len(names) < len(found):
        last += f"; {CLS} is the class token, for --model.global-input {CLS}"
    say(console, f"{config.backbone} at {size} pixels: for example --levels {some}{last}")
