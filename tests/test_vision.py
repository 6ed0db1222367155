"""torchvision and timm come without the compiler, which is there for whoever asks."""

import subprocess
import sys

import pytest

COMPILER = "[m for m in ('torch._dynamo', 'triton', 'sympy') if m in sys.modules]"


def python(code):
    command = [sys.executable, "-c", f"import sys\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    "module",
    ["drmn.data.images.decode", "drmn.tracking.model_package", "drmn.search.driver"],
)
def test_what_looks_at_photos_loads_no_compiler(module):
    assert python(f"import {module}\nprint({COMPILER})") == ["[]"]


def test_a_network_is_compiled_after_as_before():
    code = (
        "from drmn.vision import v2\nimport torch\n"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "print(double(torch.ones(2)).tolist(), 'convert_frame' in dir(torch._dynamo))"
    )
    assert python(code) == ["[2.0, 2.0] True"]


def test_who_ships_to_mlflow_loads_no_torch_before_a_model_is_packed():
    heavy = "[m for m in ('torch', 'timm') if m in sys.modules]"
    assert python(f"import drmn.tracking.mlflow_writer\nprint({heavy})") == ["[]"]
