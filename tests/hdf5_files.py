"""Feature files made as DAZLE's extraction makes them: official tables, features of chance."""

import shutil

import h5py
import numpy as np
from scipy.io import loadmat

CHANNELS, HEIGHT, WIDTH = 24, 3, 2


def root_without_images(whole, folder):
    """Return a data root with the split files and word vectors of another, and no image."""
    for name in ("xlsa17", "w2v"):
        shutil.copytree(whole / name, folder / name, copy_function=shutil.copyfile)
    return folder


def tables(root, dataset):
    """Return all but the features, by name: what the split files say, counted from 0."""
    splits = root / "xlsa17" / "data" / dataset
    split, index = loadmat(splits / "att_splits.mat"), loadmat(splits / "res101.mat")
    indices = {f"{part}_loc": split[f"{part}_loc"].ravel().astype(int) - 1 for part in PARTS}
    return {
        "labels": index["labels"].ravel().astype(int) - 1,
        **indices,
        "att": split["att"].T,
        "original_att": split["original_att"].T,
        "w2v_att": np.load(root / "w2v" / f"{dataset}_attribute.npy"),
    }


PARTS = ("trainval", "test_seen", "test_unseen")


def maps(content, size=(CHANNELS, HEIGHT, WIDTH)):
    """Return maps [image, channel, height, width] in which a class's attributes show."""
    chance = np.random.default_rng(0)
    seen = content["att"] @ chance.normal(size=(content["att"].shape[1], size[0]))
    noise = chance.normal(scale=0.1, size=(len(content["labels"]), *size))
    return (seen[content["labels"], :, None, None] + noise).astype(np.float32)


def write(file, content, **options):
    """Write all datasets of `content` into `file`; `options` are for those of the features."""
    with h5py.File(file, "w") as written:
        for name, values in content.items():
            more = options if name == "feature_map" else {}
            written.create_dataset(name, data=values, **more)
    return file
