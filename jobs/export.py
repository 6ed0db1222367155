"""Export a packed model as one file, ONNX or PyTorch's exported program, and check it.

python jobs/export.py --model results/studies/cub/final/model --out cub.onnx --photos photos/
python jobs/export.py --model models:/drmn-cub@champion --out cub.pt2
"""

from dataclasses import dataclass, field
from pathlib import Path

from drmn.cli import run, write_json
from drmn.errors import ConfigError
from drmn.tracking.uri import default_store


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportJob:
    """Export a packed model as one file, ONNX or PyTorch's exported program, and check it."""

    model: str = ""
    """Folder of a packed model, of a trial or of a finalized study, or MLflow's URI of a model."""
    out: Path | None = None
    """The file to write: .onnx, or .pt2 for torch.export."""
    photos: tuple[Path, ...] = ()
    """Photos, or folders of them, that the file is checked on; by default on random pixels."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server, for a URI. By default that of MLFLOW_TRACKING_URI."""
    json: Path | None = None
    """Write what was checked as JSON into this file."""


def main(job: ExportJob) -> None:
    """Load the model, write the file, load that and compare."""
    if not job.model:
        raise ConfigError("--model is missing: such as results/studies/NAME or models:/NAME@ALIAS.")
    if job.out is None:
        raise ConfigError("--out is missing: the file to write, such as model.onnx.")

    from drmn.final.export import require_libraries
    from drmn.final.parity import checked_export
    from drmn.report.predictions import photos_of
    from drmn.report.say import say
    from drmn.tracking.fetch_model import package_files
    from drmn.tracking.model_package import load

    require_libraries(job.out)
    photos = photos_of(job.photos) if job.photos else []
    package = load(*package_files(job.model, job.tracking_uri))

    from rich.console import Console

    console = Console()
    say(console, f"exporting {len(package.classes.names)} classes and the backbone: {job.out}")
    found = checked_export(package, job.out, photos)
    say(
        console,
        f"{job.out}: {found.megabytes:.1f} MB; on {found.images} {found.of} its probabilities and "
        f"attribute scores differ by at most {found.largest:.1e} from the model's.",
    )
    write_json(job.json, found.plain())


if __name__ == "__main__":
    run(main, ExportJob)
