"""SpikingJelly modules that run on the kernels of clifctl.

`LIFNode`, `PLIFNode`, `KLIFNode`, `GLIFNode` and `CLIFNode` take the place of SpikingJelly's
neurons in any of its models:

    net = spiking_vgg.spiking_vgg11_bn(spiking_neuron=CLIFNode, tau=2.0, step_mode="m")

Step mode "s" maps one step `[N, *]` to spikes `[N, *]`, step mode "m" a sequence `[T, N, *]` to
`[T, N, *]`. In both modes the states carry over to the next call, gradients included, until
`reset()` (`functional.reset_net`). States are attributes, named as in the neuron's file; what
SpikingJelly's node has as an attribute can be read, and set where that means something here.

The defaults are those of the neurons of clifctl, not SpikingJelly's: soft reset, input not divided
by tau, rectangle surrogate. Equal arguments give SpikingJelly's spikes and gradients.
`docs/spikingjelly.md` says what is taken, and what differs.
"""

from clifctl.spikingjelly.node import NeuronNode
from clifctl.spikingjelly.nodes import CLIFNode, GLIFNode, KLIFNode, LIFNode, PLIFNode

__all__ = ["CLIFNode", "GLIFNode", "KLIFNode", "LIFNode", "NeuronNode", "PLIFNode"]
