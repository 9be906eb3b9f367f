"""CIFAR-100: 50,000 training and 10,000 test images of 32x32 in a hundred classes, shown at every
time step. Mean and standard deviation are those of the CLIF authors' code."""

from clifctl.data.sets.cifar import CifarFormat, dataset

FORMAT = CifarFormat(
    name="cifar100",
    torchvision="CIFAR100",
    classes=100,
    labels="fine_labels",
    batch_samples=(50_000, 10_000),
    batch_bytes=(155_249_918, 31_049_918),
    archive_bytes=169_001_437,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
)
DATASET = dataset(
    FORMAT,
    title="CIFAR-100, 60,000 colour images, the image at every time step",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    folder="cifar-100-python",
)
