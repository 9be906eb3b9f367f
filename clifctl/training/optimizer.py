"""SGD and the cosine schedule of the authors' protocol."""

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR


def sgd_cosine(
    net: nn.Module, *, lr: float, momentum: float, weight_decay: float, epochs: int
) -> tuple[SGD, CosineAnnealingLR]:
    """SGD without Nesterov over all parameters in one group (norms, biases and neurons decay too),
    and lr(epoch) = lr / 2 * (1 + cos(pi * epoch / epochs)), stepped once an epoch."""
    optimizer = SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    return optimizer, CosineAnnealingLR(optimizer, T_max=epochs)
