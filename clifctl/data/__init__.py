"""Data: the DATASETS table (one file a data set), batches and augmentation on the device."""

from clifctl.data.ahead import WITHOUT_WORKERS
from clifctl.data.contract import (
    Augmentation,
    DataOptions,
    Dataset,
    DataShape,
    Files,
    FileState,
    LoadedData,
    Preparation,
    Split,
)
from clifctl.data.images import data_folder
from clifctl.data.loading import batches, draw_order, shuffled_batches
from clifctl.data.sets import (
    adding,
    cifar10,
    cifar10_dvs,
    cifar100,
    digits,
    digits_events,
    digits_rows,
    dvs_gesture,
    event_files,
    fashion_mnist,
    image_folder,
    mnist,
    mnist1d,
    n_mnist,
    npz,
    shd,
    ssc,
    tiny_imagenet,
)

# name -> data set, in the order of display
DATASETS: dict[str, Dataset] = {
    "digits": digits.DATASET,
    "digits_events": digits_events.DATASET,
    "digits_rows": digits_rows.DATASET,
    "mnist1d": mnist1d.DATASET,
    "adding": adding.DATASET,
    "shd": shd.DATASET,
    "ssc": ssc.DATASET,
    "mnist": mnist.DATASET,
    "fashion_mnist": fashion_mnist.DATASET,
    "cifar10": cifar10.DATASET,
    "cifar100": cifar100.DATASET,
    "tiny_imagenet": tiny_imagenet.DATASET,
    "image_folder": image_folder.DATASET,
    "npz": npz.DATASET,
    "dvs_gesture": dvs_gesture.DATASET,
    "cifar10_dvs": cifar10_dvs.DATASET,
    "n_mnist": n_mnist.DATASET,
    "event_files": event_files.DATASET,
}

__all__ = [
    "DATASETS",
    "WITHOUT_WORKERS",
    "Augmentation",
    "DataOptions",
    "DataShape",
    "Dataset",
    "FileState",
    "Files",
    "LoadedData",
    "Preparation",
    "Split",
    "batches",
    "data_folder",
    "draw_order",
    "shuffled_batches",
]
