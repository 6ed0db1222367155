"""URIs of MLflow's store."""

import pytest

from drmn.errors import ConfigError
from drmn.tracking.uri import absolute, artifact_folder, require_store


def test_a_relative_database_means_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_folder("sqlite:///mlflow.db") == f"{tmp_path}/mlartifacts"
    assert absolute("http://host:5000") == "http://host:5000"
    assert artifact_folder("http://host:5000") == ""


@pytest.mark.parametrize("uri", ["http://", "http:///path", "http://host:port", "postgresql://"])
def test_an_address_that_is_not_whole_is_refused(uri):
    with pytest.raises(ConfigError, match="must be a whole address"):
        require_store(uri)


def test_an_address_that_is_whole_is_taken():
    for uri in ("sqlite:///a.db", "http://host:5000", "postgresql:///mlflow?host=/run/postgresql"):
        require_store(uri)
