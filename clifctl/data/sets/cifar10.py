"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 in ten classes, shown at every time
step. Mean and standard deviation are those of the CLIF authors' code."""

from clifctl.data.sets.cifar import CifarFormat, dataset

FORMAT = CifarFormat(
    name="cifar10",
    torchvision="CIFAR10",
    classes=10,
    labels="labels",
    batch_samples=(10_000,) * 6,
    batch_bytes=(31_035_704, 31_035_320, 31_035_999, 31_035_696, 31_035_623, 31_035_526),
    archive_bytes=170_498_071,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
)
DATASET = dataset(
    FORMAT,
    title="CIFAR-10, 60,000 colour images, the image at every time step",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
)
