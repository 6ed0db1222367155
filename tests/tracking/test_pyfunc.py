"""A model behind MLflow's own scoring server: what a request may have, and what a bad one gets."""

import base64
import io
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import pytest
import torch
import uvicorn
from mlflow.pyfunc import scoring_server
from PIL import Image
from web import answers, free_port, until

from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.evaluation.ensemble import Rule
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.tracking import pyfunc, registry
from drmn.tracking.model_package import Package, save

FEATURES = FeatureConfig(weights="random", levels="32", image_size=64)


@pytest.fixture(scope="module")
def address(toy, tmp_path_factory):
    """Return the address of a served model of random weights."""
    folder = tmp_path_factory.mktemp("served")
    torch.manual_seed(0)
    run = RunConfig(model=ModelConfig(levels="32", width=8, sit="none"))
    backbone = Backbone(FEATURES)
    network = DRMN(run.model, backbone.channels, attributes=6, seen=6)
    rule = Rule(run.model.ensemble, beta=0.3, gamma=0.2, delta=0.5)
    save(folder / "package", Package(backbone, network, run, toy.classes, rule), FEATURES)
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=pyfunc.__file__,
        artifacts={"package": str(folder / "package")},
        signature=registry.SIGNATURE,
        pip_requirements=[],
    )
    app = scoring_server.init(mlflow.pyfunc.load_model(str(folder / "model")))
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    found = f"http://127.0.0.1:{server.config.port}"
    until(lambda: answers(f"{found}/ping"), 60)
    yield found
    server.should_exit = True


@pytest.fixture(scope="module")
def photo():
    """Return a photo in base64."""
    png = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


def ask(address, images, **params):
    """Return the status and the body of an answer."""
    split = {"columns": ["image"], "data": [[image] for image in images]}
    return post(address, json.dumps({"dataframe_split": split, "params": params}))


def post(address, body):
    request = urllib.request.Request(
        f"{address}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def refusal(address, images, status=400, **params):
    """Return the sentence of an answer to a bad request, which has nothing beside it."""
    found, body = ask(address, images, **params)
    assert found == status, body
    assert body.keys() == {"error_code", "message"}
    assert "\n" not in body["message"]
    return body["message"]


def test_photos_are_answered(address, photo):
    status, body = ask(address, [photo, photo], top=2)
    assert status == 200
    assert [len(row["top"]) for row in body["predictions"]] == [2, 2]


def test_the_number_of_photos_is_bounded(address, photo):
    few = [photo] * (pyfunc.MOST_PHOTOS + 1)
    assert refusal(address, few) == "a request has 1 to 64 photos; got 65."


def test_the_bytes_of_all_photos_are_bounded(address):
    large = "AAAA" * (pyfunc.MOST_BYTES // 6 + 10)
    said = "the photos of a request have at most 64 MB; got 64 MB."
    assert refusal(address, [large, large]) == said


def test_the_text_of_more_classes_is_bounded(address, photo):
    said = refusal(address, [photo], classes=" " * (pyfunc.MOST_CLASSES + 1))
    assert said == "classes has at most 1048576 characters; got 1048577."


@pytest.mark.parametrize(
    ("image", "params", "message"),
    [
        ("%%%", {}, "image 0: not a readable image"),
        ("AAAA", {}, "image 0: not a readable image"),
        ("", {}, "image 0: not a readable image (it is empty)"),
        (None, {"top": -1}, "top must be 0 or more; got -1."),
        (None, {"classes": "["}, "classes: no JSON"),
        (None, {"classes": '{"x": "y"}'}, "class 'x' needs 6 numbers; got others."),
        (None, {"classes": '{"x": [[1], [1, 2]]}'}, "class 'x' needs 6 numbers; got others."),
        (None, {"classes": '{"x": {"a0": "much"}}'}, "class 'x' needs 6 numbers; got others."),
        (None, {"classes": '{"x": null}'}, "class 'x' needs 6 numbers; got others."),
    ],
)
def test_a_bad_request_is_answered_in_one_sentence(address, photo, image, params, message):
    given = photo if image is None else image
    assert refusal(address, [given], **params).startswith(message)


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "{}",
        json.dumps({"dataframe_split": {"columns": ["picture"], "data": [["AAAA"]]}}),
        json.dumps({"dataframe_split": {"columns": ["image"], "data": [[None]]}}),
        json.dumps({"dataframe_split": {"columns": ["image"], "data": [[1]]}}),
        json.dumps({"dataframe_split": {"columns": ["image"], "data": []}}),
        json.dumps({"inputs": [["AAAA"]]}),
        json.dumps({"inputs": [{"image": "A"}]}),
    ],
)
def test_what_mlflow_itself_refuses_has_no_stack_trace(address, body):
    status, answer = post(address, body)
    assert 400 <= status < 500, answer
    assert "Traceback" not in json.dumps(answer)


def test_an_error_of_our_own_goes_into_the_log_and_not_to_whoever_asked(
    address, photo, monkeypatch, caplog
):
    monkeypatch.setattr(
        "drmn.tracking.model_package.decode_bytes", lambda content: content.secret_path
    )
    said = refusal(address, [photo], status=500)
    assert said == "The model failed on this request; the server's log says why."
    assert "secret_path" in caplog.text
    assert str(Path(pyfunc.__file__).parent) not in said
