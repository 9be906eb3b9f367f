"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 and grey, shown at
every time step. Mean and standard deviation are those of the training images' pixels, as they are
in general use."""

from clifctl.data.sets.idx_images import IdxFormat, dataset

FORMAT = IdxFormat(
    name="mnist",
    torchvision="MNIST",
    class_names=tuple("0123456789"),
    md5=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    url="http://yann.lecun.com/exdb/mnist/",
    download_bytes=11_594_722,
    mean=0.1307,
    std=0.3081,
)
DATASET = dataset(
    FORMAT,
    title="MNIST, 70,000 grey images of handwritten digits, the image at every time step",
    source="LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning, Proc. IEEE 86(11), 1998",
    licence="CC BY-SA 3.0",
)
