"""Dense layers scanned by `flax.linen.scan`: their parameters are one stacked bank."""

from flax import linen as nn

from morphax.layers import linen


class Block(nn.Module):
    """A square layer of dense neurons, the body of a scan."""

    @nn.compact
    def __call__(self, x, _):
        return linen.DenseLUI(x.shape[-1], options={"weight_map": "identity"})(x), None


class Deep(nn.Module):
    """Three layers as one scanned module."""

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return scan(name="stack")(x, None)[0]
