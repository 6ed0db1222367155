"""Classes that ImageNet has too, by name."""

import pytest

from drmn.data.imagenet import shared_classes, words_of


def test_names_are_read_as_datasets_write_them():
    names = ["014.Indigo_Bunting", "polar+bear", "church_outdoor", "Black-and-white_Warbler"]
    assert [words_of(name) for name in names] == [
        "indigo bunting",
        "polar bear",
        "church outdoor",
        "black and white warbler",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "014.Indigo_Bunting",  # the same name
        "047.American_Goldfinch",  # a kind of ImageNet's goldfinch
        "elephant",  # ImageNet has the Indian one
        "giant+panda",  # by another of the synset's names
    ],
)
def test_a_class_of_imagenet_is_known_by_its_name(name):
    assert shared_classes([name, "061.Heermann_Gull"]) == (name,)


@pytest.mark.parametrize(
    "name", ["004.Groove_billed_Ani", "bobcat", "200.Common_Yellowthroat", "1"]
)
def test_others_are_not(name):
    assert shared_classes([name]) == ()


def test_the_test_classes_of_cub_are_none_of_imagenet_s_and_some_validation_classes_are(shared):
    folder = shared("xlsa17_meta") / "data" / "CUB"
    counts = [
        len(shared_classes((folder / f"{part}.txt").read_text().split()))
        for part in ("testclasses", "valclasses1", "valclasses2", "valclasses3")
    ]
    assert counts == [0, 7, 6, 3]
