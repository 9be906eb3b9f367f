"""Functions of torch that are several operations: each as the plain ones that it is made of.

Where a net is followed, these run beside the function itself, on the same arguments, and are what
is counted; the result is the function's own.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from clifctl.energy.calls import flat


def _attention(query: Tensor, key: Tensor, value: Tensor, *mask: Any, **how: Any) -> Tensor | None:
    """Dense, whatever a mask leaves out of it."""
    if how.get("enable_gqa"):
        return None
    scale = how.get("scale") or 1 / math.sqrt(query.shape[-1])
    return (query @ key.transpose(-2, -1) * scale).softmax(-1) @ value


def _multi_head_attention(*args: Any, **kwargs: Any) -> Tensor | None:
    names = (
        *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight"),
        *("in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight"),
        *("out_proj_bias", "training", "key_padding_mask", "need_weights", "attn_mask"),
    )
    given = dict(zip(names, args, strict=False)) | kwargs
    if given["in_proj_weight"] is None or given["bias_k"] is not None or given["add_zero_attn"]:
        return None
    bias, heads = given["in_proj_bias"], given["num_heads"]
    weights = given["in_proj_weight"].chunk(3)
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    projected = [
        F.linear(given[name], weight, shift).unflatten(-1, (heads, -1)).movedim(-2, 0)
        for name, weight, shift in zip(names[:3], weights, biases, strict=True)
    ]  # [heads, L, N, E / heads]
    if projected[0].dim() == 4:
        projected = [one.transpose(1, 2) for one in projected]
    mixed = _attention(*projected)
    if mixed is None:
        return None
    if mixed.dim() == 4:
        mixed = mixed.transpose(1, 2)
    joined = mixed.movedim(0, -2).flatten(-2)
    return F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])


# function of torch -> what it computes, None for arguments of which that is not known
COMPOSITES: dict[str, Callable[..., Tensor | None]] = {
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head_attention,
}


def first_tensor(result: Any) -> Tensor | None:
    """The first tensor of what a function gave."""
    return next((item for item in flat([result]) if isinstance(item, Tensor)), None)
