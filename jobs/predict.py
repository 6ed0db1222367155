"""Classify photos with a packed model, and say why.

python jobs/predict.py --model results/studies/demo/final/model photo.jpg
python jobs/predict.py --model models:/drmn-cub@champion photos/ --out predictions.csv
python jobs/predict.py --model results/studies/cub/final/model photo.jpg --classes new.csv
python jobs/predict.py --model cub.onnx photos/ --out predictions.parquet
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from drmn.cli import require_place, run, write_json
from drmn.errors import ConfigError
from drmn.fields import require
from drmn.flags import expand_home
from drmn.tracking.uri import default_store

if TYPE_CHECKING:
    from drmn.final.prediction import Classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictJob:
    """Classify photos with a packed model, and say why."""

    photos: Positional[tuple[Path, ...]]
    """Photos, or folders of them."""
    model: str = ""
    """Folder of a packed model, of a trial or of a finalized study, a file of jobs/export.py, or
    MLflow's URI of a model."""
    classes: Path | None = None
    """CSV of more classes without training images: a name, then a column an attribute."""
    top: int = 5
    """Classes, and attributes, that are shown of each photo."""
    out: Path | None = None
    """Write a row a photo into this file: .csv or .parquet."""
    evidence: Path | None = None
    """Draw into this folder a picture of each photo: what is for its prediction, what is against
    it, and where the network looks."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server, for a URI. By default that of MLFLOW_TRACKING_URI."""
    json: Path | None = None
    """Write all predictions, with all attributes, as JSON into this file."""


def main(job: PredictJob) -> None:
    """Load the model, classify, and print or write the predictions."""
    if not job.model:
        raise ConfigError(
            "--model is missing: a folder such as results/studies/NAME/final/model, or "
            "models:/drmn-DATASET@champion."
        )
    require("--top", job.top, job.top > 0, "positive")
    kinds = (".csv", ".parquet")
    fits = job.out is None or job.out.suffix in kinds
    require("--out", str(job.out), fits, "a .csv or .parquet file")
    require_place(job.json)

    from rich.console import Console

    from drmn.final.prediction import counts, new_classes, predict_photos
    from drmn.report import predictions
    from drmn.report.evidence_sheet import draw_evidence
    from drmn.tracking.model_package import Package

    if job.evidence:
        make_folder(job.evidence)
    console = Console()
    files = predictions.photos_of(job.photos)
    model = model_of(job)
    classes = model.classes if job.classes is None else new_classes(model.classes, job.classes)
    found = []
    for each in predict_photos(model, files, classes, job.top):
        found.append(each)
        if job.evidence and isinstance(model, Package):
            place = draw_evidence(model, Path(each.photo), classes, job.evidence, len(found))
            console.print(f"evidence: {place}", highlight=False, soft_wrap=True)
        if job.out is None:
            predictions.show(console, each)
        elif len(found) % 100 == 0:
            console.print(f"{len(found)} of {len(files)} photos", highlight=False)
    if job.out is not None:
        predictions.write_table(job.out, found)
        console.print(f"{counts(found)}, written to {job.out}", highlight=False, soft_wrap=True)
    write_json(job.json, [predictions.plain(each) for each in found])


def make_folder(place: Path) -> None:
    """Make the folder of `--evidence`, or raise `ConfigError`: known before the work."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"--evidence {place}: {problem.strerror}; give a folder.") from None


def model_of(job: PredictJob) -> "Classifier":
    """Return the model that is asked for, from an exported file or a package.

    Raises:
        ConfigError: There is none, or it cannot do what is asked for.
    """
    if Path(job.model).suffix in (".onnx", ".pt2"):
        from drmn.final.exported import Exported

        if job.evidence:
            raise ConfigError(
                f"--evidence needs a packed model: {job.model} does not say where it looks."
            )
        return Exported(Path(expand_home(job.model)))
    from drmn.tracking.fetch_model import package_files
    from drmn.tracking.model_package import load

    return load(*package_files(job.model, job.tracking_uri))


if __name__ == "__main__":
    run(main, PredictJob)
