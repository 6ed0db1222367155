"""torchvision and timm come without the compiler, which is there for whoever asks."""

import subprocess
import sys

import pytest

COMPILER = "[m for m in ('torch._dynamo', 'triton', 'sympy') if m in sys.modules]"


def python(code):
    command = [sys.executable, "-c", f"import sys\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_what_photos_need_is_loaded_when_there_are_some_and_without_the_compiler():
    loaded = f"print([m for m in ('timm', 'torchvision') if m in sys.modules], {COMPILER})\n"
    code = (
        "import drmn.experiment.trial_task, drmn.search.driver\n"
        f"{loaded}from drmn import vision\n"
        "import drmn.data.images.decode, drmn.tracking.model_package\n"
        "vision.v2.CenterCrop(1)\nvision.timm.is_model('resnet18')\nvision.decode_image\n"
        f"{loaded}"
    )
    assert python(code) == ["[] []", "['timm', 'torchvision'] []"]


def test_threads_that_decode_first_share_one_import():
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nfrom drmn import vision\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    found = list(pool.map(lambda _: vision.decode_image, range(8)))\n"
        f"print(len(set(found)), {COMPILER})"
    )
    assert python(code) == ["1 []"]


def test_a_network_is_compiled_after_as_before():
    code = (
        "from drmn.vision import v2\nimport torch\n"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "print(double(torch.ones(2)).tolist(), 'convert_frame' in dir(torch._dynamo))"
    )
    assert python(code) == ["[2.0, 2.0] True"]


TRAIN = """
from drmn.compiler import defer_compiler
defer_compiler()
import torch
weight = torch.ones(2, requires_grad=True)
for kind in (torch.optim.AdamW, torch.optim.Adam, torch.optim.LBFGS):
    optimizer = kind([weight], lr=0.1)
    def loss():
        optimizer.zero_grad()
        value = weight.square().sum()
        value.backward()
        return value
    optimizer.step(loss)
    optimizer.load_state_dict(optimizer.state_dict())
"""
LOADED = "print([m for m in ('torch._dynamo.convert_frame', 'sympy') if m in sys.modules])\n"


def test_a_training_loads_no_compiler_nor_does_who_looks_over_all_modules():
    code = (
        f"{TRAIN}{LOADED}print(bool(weight.max() < 1))\nimport inspect, json\n"
        "inspect.modulesbyfile.clear(), inspect._filesbymodname.clear()\n"
        "print(inspect.getmodule(json.JSONDecoder.decode.__code__).__name__)\n"
        f"{LOADED}from torch.distributed.tensor import DTensor\nprint(DTensor.__name__)"
    )
    assert python(code) == ["[]", "True", "json.decoder", "[]", "DTensor"]


def test_what_is_compiled_after_a_training_is_compiled():
    code = (
        f"{TRAIN}{LOADED}"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "print(double(torch.ones(2)).tolist(), 'torch._dynamo.convert_frame' in sys.modules)\n"
        "optimizer.step(loss)\n"
        "import torch._dynamo.utils\n"
        "from drmn.vision import v2\n"
        "print(torch._dynamo.utils.counters['frames']['total'])"
    )
    assert python(code) == ["[]", "[2.0, 2.0] True", "1"]


@pytest.mark.parametrize(
    "how", ["import torch._dynamo.utils as u", "from torch._dynamo import utils as u"]
)
def test_a_part_of_the_compiler_may_be_imported_after_a_training(how):
    code = f"{TRAIN}{how}\nprint(u is sys.modules['torch._dynamo.utils'], torch._dynamo.utils is u)"
    assert python(code) == ["True True"]


def test_who_ships_to_mlflow_loads_no_torch_before_a_model_is_packed():
    heavy = "[m for m in ('torch', 'timm') if m in sys.modules]"
    assert python(f"import drmn.tracking.mlflow_writer\nprint({heavy})") == ["[]"]
