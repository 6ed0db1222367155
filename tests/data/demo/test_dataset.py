import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from drmn.data.demo import dataset
from drmn.data.demo.creatures import GROUPS, paint

pytestmark = pytest.mark.long  # a whole dataset is drawn

SEEN = dataset.CLASSES - dataset.UNSEEN
CREATURE = {group: options[0] for group, options in GROUPS.items()}


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "drawn"
    dataset.render(folder)
    return folder


@pytest.fixture(scope="session")
def splits(root):
    return loadmat(root / "xlsa17/data/DEMO/att_splits.mat")


@pytest.fixture(scope="session")
def images(root):
    return loadmat(root / "xlsa17/data/DEMO/res101.mat")


def classes(root, stem):
    return (root / f"xlsa17/data/DEMO/{stem}.txt").read_text().splitlines()


def files(root):
    return sorted(file for file in root.rglob("*") if file.is_file())


def texts(cells):
    assert cells.shape[1] == 1
    return [cell[0][0] for cell in cells]


def of_classes(images, splits, wanted):
    """The 1-based places of the images of some classes, by way of the labels."""
    names = texts(splits["allclasses_names"])
    labels = images["labels"].ravel().astype(int)
    return {place for place, label in enumerate(labels, 1) if names[label - 1] in wanted}


def places(splits, name):
    return set(splits[name].ravel().tolist())


def test_drawing_twice_gives_the_same_bytes(root, tmp_path):
    again = tmp_path / "again"
    dataset.render(again)
    assert len(files(again)) == len(files(root)) == dataset.IMAGES + 1 + 2 + 9
    for file in files(again):
        assert file.read_bytes() == (root / file.relative_to(again)).read_bytes(), file


def test_an_existing_folder_is_not_drawn_again(root, monkeypatch):
    monkeypatch.setattr(dataset, "paint", lambda *_: pytest.fail("drawn again"))
    dataset.render(root)


def test_a_drawing_that_breaks_off_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(
        dataset, "_write_splits", lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    monkeypatch.setattr(dataset, "_draw_images", lambda folder: folder.mkdir(parents=True))
    with pytest.raises(KeyboardInterrupt):
        dataset.render(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_processes_keeps_what_the_faster_one_drew(tmp_path):
    for name in ("faster", "slower"):
        (tmp_path / name / "DEMO").mkdir(parents=True)
    dataset._put_in_place(tmp_path / "slower", tmp_path / "faster")
    assert (tmp_path / "faster/DEMO").is_dir()


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path):
    (tmp_path / "mine/thesis").mkdir(parents=True)
    (tmp_path / "whole/DEMO").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        dataset._put_in_place(tmp_path / "whole", tmp_path / "mine")
    assert (tmp_path / "mine/thesis").is_dir()


def test_every_listed_image_is_there_and_no_other(root, images):
    listed = texts(images["image_files"])
    assert all(file.startswith("/demo/images/") for file in listed)
    assert {root / "DEMO" / file.removeprefix("/demo/") for file in listed} == set(
        root.glob("DEMO/images/*/*.jpg")
    )
    assert len(listed) == len(set(listed)) == dataset.IMAGES == 1152


def test_labels_follow_the_names_of_the_splits_and_not_the_folders(images, splits):
    names = texts(splits["allclasses_names"])
    assert names != sorted(names)
    assert images["labels"].dtype == np.uint8
    for file, label in zip(texts(images["image_files"]), images["labels"].ravel(), strict=True):
        assert file.split("/")[3] == names[int(label) - 1]


def test_attributes_are_numbered_from_one_in_the_order_of_the_groups(root):
    lines = (root / "DEMO/attributes.txt").read_text().splitlines()
    assert lines[0] == "1 body_colour::red"
    assert [line.split(" ", 1)[1] for line in lines] == dataset.attribute_names()
    assert len(lines) == dataset.ATTRIBUTES >= 32


def test_class_lists_divide_the_classes_and_no_two_folds_validate_on_one_class(root):
    everything, seen = set(classes(root, "allclasses")), set(classes(root, "trainvalclasses"))
    assert len(everything) == dataset.CLASSES
    assert seen == everything - set(classes(root, "testclasses"))
    assert len(seen) == SEEN
    held = [set(classes(root, f"valclasses{fold}")) for fold in (1, 2, 3)]
    assert len(set.union(*held)) == 3 * dataset.VALIDATION
    for fold, val in enumerate(held, 1):
        assert set(classes(root, f"trainclasses{fold}")) == seen - val


def test_indices_count_from_one_and_divide_the_images(splits):
    parts = [splits[name] for name in ("trainval_loc", "test_seen_loc", "test_unseen_loc")]
    assert all(part.dtype == np.uint16 and part.shape[1] == 1 for part in parts)
    assert sorted(np.concatenate(parts).ravel()) == list(range(1, dataset.IMAGES + 1))


def test_five_images_of_every_seen_class_are_for_testing(root, images, splits):
    for name in classes(root, "trainvalclasses"):
        own = of_classes(images, splits, {name})
        assert len(own & places(splits, "test_seen_loc")) == dataset.TEST_PER_CLASS
    unseen = of_classes(images, splits, classes(root, "testclasses"))
    assert unseen == places(splits, "test_unseen_loc")


def test_the_shipped_train_and_val_run_over_the_test_images_as_the_official_ones_do(splits):
    train, val = places(splits, "train_loc"), places(splits, "val_loc")
    assert not train & val
    assert train | val == places(splits, "trainval_loc") | places(splits, "test_seen_loc")
    assert train & places(splits, "test_seen_loc")


def test_class_vectors_are_the_original_ones_at_length_one(splits):
    original = splits["original_att"]
    assert original.shape == (dataset.ATTRIBUTES, dataset.CLASSES)
    assert (original.min(), original.max()) == (0, 100)
    assert 0.02 < ((original > 0) & (original < 100)).mean() < 0.2  # some classes vary
    np.testing.assert_allclose(splits["att"], original / np.sqrt((original**2).sum(axis=0)))


def test_class_vectors_count_what_was_drawn(splits):
    for label in (0, 17, dataset.CLASSES - 1):
        shown = [dataset.drawn(label, index) for index in range(dataset.PER_CLASS)]
        for name, share in zip(
            dataset.attribute_names(), splits["original_att"][:, label], strict=True
        ):
            group, value = name.split("::")
            count = sum(values[group] == value for values in shown)
            assert share == pytest.approx(100 * count / 24)


def test_a_picture_shows_what_is_said_to_be_drawn(root):
    name = dataset.names()[5]
    picture = paint(dataset.drawn(5, 7), (dataset.SEED, 5, 7, 1))
    with Image.open(root / "DEMO/images" / name / f"{name}_0008.jpg") as image:
        assert image.size == (160, 160)
        difference = np.asarray(image, float) - np.asarray(picture, float)
    assert np.abs(difference).mean() < 6  # what JPEG costs; another creature is far beyond


def test_every_attribute_has_train_classes_with_it_and_without_it(root, splits):
    names = texts(splits["allclasses_names"])
    train = [names.index(name) for name in classes(root, "trainclasses1")]
    usual = splits["original_att"][:, train] > 50
    assert usual.sum(axis=1).min() >= 2
    assert usual.sum(axis=1).max() < len(train)


def test_no_two_classes_look_alike_but_some_nearly_do(splits):
    usual = (splits["original_att"] > 50).astype(int)
    differing = (usual[:, :, None] != usual[:, None, :]).sum(axis=0)
    # A group that differs makes two attributes differ.
    assert differing[np.triu_indices(dataset.CLASSES, 1)].min() == 2 * 2


@pytest.mark.parametrize("group", GROUPS)
def test_an_attribute_shows_in_one_place(group):
    changed = CREATURE | {group: GROUPS[group][1]}
    shares = []
    for key in range(8):
        before, after = (np.asarray(paint(v, (key,)), int) for v in (CREATURE, changed))
        rows, columns = np.nonzero(np.abs(before - after).max(axis=2) > 20)
        assert len(rows) > 0
        shares.append(len(rows) / before[..., 0].size)
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) < before[..., 0].size / 2
    assert np.mean(shares) < 0.15
