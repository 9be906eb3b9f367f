"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes in ten classes, 28x28 and grey,
shown at every time step. Mean and standard deviation are those of the training images' pixels."""

from pathlib import Path

from clifctl.data.sets.idx_images import IdxFormat, dataset

FORMAT = IdxFormat(
    name="fashion_mnist",
    torchvision="FashionMNIST",
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    md5=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    url="https://github.com/zalandoresearch/fashion-mnist",
    download_bytes=30_878_645,
    mean=0.2860,
    std=0.3530,
    system=Path("/usr/share/datasets/fashion-mnist"),
    package="dataset-fashion-mnist",
)
DATASET = dataset(
    FORMAT,
    title="Fashion-MNIST, 70,000 grey images of clothes, the image at every time step",
    source="Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017",
    licence="MIT",
)
