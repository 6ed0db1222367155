"""Classify photos with a packed model, and say why.

python jobs/predict.py --model results/studies/demo/final/model photo.jpg
python jobs/predict.py --model models:/drmn-cub@champion photos/ --out predictions.csv
python jobs/predict.py --model results/studies/cub/final/model photo.jpg --classes new.csv
"""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from drmn.cli import require_place, run, write_json
from drmn.errors import ConfigError
from drmn.fields import require
from drmn.tracking.uri import default_store


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictJob:
    """Classify photos with a packed model, and say why."""

    photos: Positional[tuple[Path, ...]]
    """Photos, or folders of them."""
    model: str = ""
    """Folder of a packed model (results/studies/NAME/final/model), or MLflow's URI of one."""
    classes: Path | None = None
    """CSV of more classes without training images: a name, then a column an attribute."""
    top: int = 5
    """Classes, and attributes, that are shown of each photo."""
    out: Path | None = None
    """Write a row a photo into this file: .csv or .parquet."""
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
    from drmn.tracking.fetch_model import package_folder
    from drmn.tracking.model_package import load

    console = Console()
    files = predictions.photos_of(job.photos)
    package = load(package_folder(job.model, job.tracking_uri))
    classes = package.classes if job.classes is None else new_classes(package, job.classes)
    found = []
    for each in predict_photos(package, files, classes, job.top):
        found.append(each)
        if job.out is None:
            predictions.show(console, each)
        elif len(found) % 100 == 0:
            console.print(f"{len(found)} of {len(files)} photos", highlight=False)
    if job.out is not None:
        predictions.write_table(job.out, found)
        console.print(f"{counts(found)}, written to {job.out}", highlight=False, soft_wrap=True)
    write_json(job.json, [predictions.plain(each) for each in found])


if __name__ == "__main__":
    run(main, PredictJob)
