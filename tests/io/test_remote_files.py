"""A data root in S3, on a real server of it: brought once, mended, refused in a sentence."""

import pytest
from pyarrow.fs import FileSystem

from drmn.errors import ConfigError, DataError
from drmn.io.remote_files import local

moto = pytest.importorskip("moto.server", reason="no moto: pip install -e '.[dev]'")


@pytest.fixture(scope="module")
def address():
    """Return the address of a server of S3."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address, monkeypatch, request):
    """Return the URI of a bucket with some files, and a function that writes one more."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for tests alone")
    name = f"b{abs(hash(request.node.name)) % 10**9}"
    query = f"endpoint_override={address}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    store, _ = FileSystem.from_uri(f"s3://{name}?{query}")
    store.create_dir(name)

    def write(path, content):
        with store.open_output_stream(f"{name}/data/{path}") as file:
            file.write(content)

    write("xlsa17/data/CUB/splits.mat", b"splits")
    write("images/a/1.jpg", b"photo")
    yield f"s3://{name}/data?{query}", write, lambda path: store.delete_file(f"{name}/data/{path}")
    store.delete_dir_contents(name)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def bring(uri, cache):
    """Return what is there then, and how many files were brought."""
    heard = []
    place = local(uri, cache, lambda done, total: heard.append((done, total)))
    return files(place), len(heard)


def test_files_are_brought_once_and_what_changed_again(bucket, tmp_path):
    uri, write, remove = bucket
    all_ = {"xlsa17/data/CUB/splits.mat": b"splits", "images/a/1.jpg": b"photo"}
    assert bring(uri, tmp_path) == (all_, 2)
    assert bring(uri, tmp_path) == (all_, 0)
    write("images/a/1.jpg", b"another photo")
    write("images/a/2.jpg", b"more")
    remove("xlsa17/data/CUB/splits.mat")
    now = {"images/a/1.jpg": b"another photo", "images/a/2.jpg": b"more"}
    assert bring(uri, tmp_path) == (now, 2)


def test_a_file_that_is_gone_here_or_was_never_whole_is_brought_again(bucket, tmp_path):
    uri, _, _ = bucket
    whole, _ = bring(uri, tmp_path)
    (place,) = tmp_path.glob("*/files/images/a")
    (place / "1.jpg").unlink()
    (place / ".1.jpg.part").write_bytes(b"ph")  # as a killed process leaves it
    assert bring(uri, tmp_path) == (whole, 1)


def test_a_folder_stays_what_it_is(tmp_path):
    never = pytest.fail
    assert local(str(tmp_path), tmp_path, never) == tmp_path
    assert local(f"file://{tmp_path}", tmp_path, never) == tmp_path


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda uri: uri.replace("/data?", "/none?"), DataError, "it cannot be read"),
        (lambda uri: uri.replace("s3://b", "s3://c"), DataError, "it cannot be read"),
        (lambda _: "ftp://there/data", ConfigError, "give a folder or s3://"),
        (lambda _: "s3://me:open-sesame@there/data", ConfigError, "holds a password"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(bucket, tmp_path, change, error, message):
    with pytest.raises(error) as refused:
        local(change(bucket[0]), tmp_path, pytest.fail)
    assert message in str(refused.value)
    assert "open-sesame" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_that_lead_out_of_the_folder_are_refused(bucket, address, tmp_path):
    boto3 = pytest.importorskip("boto3")  # pyarrow writes no such name
    client = boto3.client("s3", endpoint_url=f"http://{address}", region_name="us-east-1")
    uri, *_ = bucket
    name = uri.removeprefix("s3://").split("/")[0]
    client.put_object(Bucket=name, Key="data/../../evil", Body=b"evil")
    with pytest.raises(DataError, match=r"it cannot be read \(a file is called \.\./\.\./evil\)"):
        local(uri, tmp_path, pytest.fail)
    assert not list(tmp_path.rglob("*evil*"))
