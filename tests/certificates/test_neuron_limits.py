"""What a certificate refuses: tiny scales, extreme units, bad and coarse parameters, ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neuron_oracle
from helpers.networks import dense_bank
from helpers.neuron_oracle import DILATION, EROSION

import morphax
from morphax import binarize
from morphax.neurons.nodes import BiSE, Spec

certify = jax.jit(morphax.certify)
certify_bank = jax.jit(morphax.certify_neurons)
run = jax.jit(morphax.apply)


def test_scale_decides_too():
    scales = [1.0, -1.0, 0.0, -0.0, 1e-9, -1e-9, 1e-30, jnp.nan, jnp.inf, 1e-3]
    node = dense_bank(np.ones((10, 3)), np.full(10, 2.5), scales)
    exact = [True, True] + [False] * 7 + [True]
    assert certify(node).exact.tolist() == exact
    output = np.asarray(run(node, jnp.ones((1, 3))))[0]
    assert output[0] > 0.5 > output[1]
    assert output[2] == output[6] == 0.5  # what p = 0, and p lost in rounding, make
    binary = binarize(node)
    assert binary.complement.tolist()[:2] == [False, True]


def test_tiny_scales_are_exact_only_if_the_output_leaves_one_half():
    """Each p of a sweep: exact implies that the float output is on the right side of 1/2."""
    scale = np.geomspace(1e-9, 1, 400, dtype=np.float32)
    node = dense_bank(np.ones((400, 3)), np.full(400, 2.5), scale)
    exact = np.asarray(certify(node).exact)
    inputs = neuron_oracle.binary_inputs(3)
    output = np.asarray(run(node, jnp.asarray(inputs, jnp.float32))) > 0.5
    np.testing.assert_array_equal(output[:, exact], inputs.all(1)[:, None].repeat(exact.sum(), 1))
    assert exact[-1]
    assert not exact[0]
    assert (output != inputs.all(1)[:, None]).any()  # there was something to refuse


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_parameters_are_not_exact(bad):
    weights = np.ones((6, 4), np.float32)
    bias = np.full(6, 0.5, np.float32)
    weights[1, 2] = bad
    bias[2] = bad
    weights[3], weights[4] = bad, -1
    certificate = certify_bank(jnp.asarray(weights), jnp.asarray(bias))
    assert certificate.exact.tolist() == [True, False, False, False, False, True]
    node = dense_bank(weights, bias, np.ones(6))
    assert certify(node).exact.tolist() == [True, False, False, False, False, True]
    assert binarize(node).selem.dtype == bool


@pytest.mark.parametrize("scale", [1e-37, 1e-33, 1e-20, 1e20, 1e37, 8e37])
def test_extreme_units_are_never_wrong(scale):
    """Huge and tiny parameters: sums overflow or underflow, the verdict stays right."""
    weights = np.array([[1, 1, 0, 1], [2, 0.01, 0.01, 2], [1, 1, 1, 1]], np.float32)
    bias = np.array([0.5, 0.5, 3.5], np.float32)
    with np.errstate(over="ignore", under="ignore"):
        node = dense_bank(
            weights * np.float32(scale), bias * np.float32(scale), np.full(3, 1 / scale)
        )
    certificate = certify(node)
    inputs = neuron_oracle.binary_inputs(4)
    output = np.asarray(run(node, jnp.asarray(inputs, jnp.float32))).T > 0.5
    selem = np.asarray(certificate.selem).T
    expected = neuron_oracle.outputs(selem, np.asarray(certificate.operation), inputs)
    exact = np.asarray(certificate.exact)
    np.testing.assert_array_equal(output[exact], expected[exact])
    assert exact.tolist() == [1e-37 < scale < 8e37] * 3
    assert np.isfinite(certificate.margin).all()


def test_one_rule_decides_a_translation():
    """|S| = 1 is an erosion and a dilation: b <= P / 2 says dilation, also at the tie."""
    weights = jnp.tile(jnp.array([0.0, 0.0, 1.0]), (3, 1))
    certificate = certify_bank(weights, jnp.array([0.5, 0.4, 0.6]))
    assert certificate.operation.tolist() == [DILATION, DILATION, EROSION]
    assert certificate.exact.tolist() == [True] * 3
    assert certificate.selem.tolist() == [[False, False, True]] * 3


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_frame_of_a_tie(border):
    """At b = P / 2 an off-centre translation reads the frame by a coin toss: only "ignore"
    minds."""
    weights = np.zeros((3, 3, 1, 4), np.float32)
    weights[0, 0, 0, :2] = 1
    weights[1, 1, 0, 2:] = 1
    node = BiSE(
        jnp.asarray(weights),
        jnp.array([[0.5, 0.4, 0.5, 0.4]]),
        jnp.full((1, 4), 9.0),
        Spec("spatial", "identity", "raw", border=border),
    )
    assert certify(node).exact.tolist() == [[border != "ignore", True, True, True]]


def test_margin_is_the_signed_relative_gap():
    weights = jnp.array([[3.0, 0.0, 4.0], [1.0, 1.0, -0.5]])
    certificate = morphax.certify_neurons(weights, jnp.array([1.0, 1.9]))
    # dilation by {0, 2}: L = 0, U = 3; erosion by {0, 1}: L = 1, U = 1.5.
    expected = [1 / np.sqrt(26), (1.5 - 1.9) / np.sqrt(2.25 + 1.9**2)]
    np.testing.assert_allclose(certificate.margin, expected, rtol=1e-6)
    assert certificate.exact.tolist() == [True, False]
    scaled = morphax.certify_neurons(weights * 1e3, jnp.array([1.0, 1.9]) * 1e3)
    np.testing.assert_allclose(scaled.margin, expected, rtol=1e-6)


def test_no_positive_weight_is_never_exact():
    certificate = morphax.certify_neurons(-jnp.ones((3, 2)), jnp.array([-1.5, 0.0, 0.5]))
    assert not certificate.exact.any()
    assert not certificate.selem.any()


def test_lui_takes_one_zone_per_channel():
    """The same weights, exact on one channel's zone and not on the other's."""
    weights, bias = jnp.array([[1.0, 1.0]]), jnp.array([0.7])
    narrow = (jnp.array([0.0, 0.3]), jnp.array([1.0, 0.8]))
    assert bool(morphax.certify_neurons(weights, bias, dead_zone=narrow).exact[0])
    other = (jnp.array([0.0, 0.3]), jnp.array([0.6, 1.0]))
    found = morphax.certify_neurons(weights, bias, dead_zone=other)
    assert not bool(found.exact[0])  # 0.6 does not reach the bias


def test_half_precision_is_judged_as_half_precision():
    """In float16 the bounds are only known to about 1e-3: closer is not exact, farther is."""
    node = dense_bank(np.ones((2, 2)), [1.99, 1.5], np.full(2, 50.0), jnp.float16)
    assert certify(node).exact.tolist() == [False, True]
    single = dense_bank(np.ones((2, 2)), [1.99, 1.5], np.full(2, 50.0))
    assert certify(single).exact.tolist() == [True, True]
    found = morphax.certify_neurons(node.weight.T, node.bias)
    assert found.margin.dtype == jnp.float32
    assert found.exact.tolist() == [False, True]


def test_many_subnormal_weights_are_not_nothing():
    """A CPU reads them as 0; a program that does not adds them up to more than the bias."""
    weights = np.full((1, 4096), 1.1e-38, np.float32)
    weights[0, 0] = 1e-34
    bias = np.array([2e-35], np.float32)
    assert neuron_oracle.sums(weights, weights[:1] < 1e-36)[0, 0] > bias[0]
    assert not certify_bank(jnp.asarray(weights), jnp.asarray(bias)).exact[0]
    larger = certify_bank(jnp.asarray(weights * 1e9), jnp.asarray(bias * np.float32(2e9)))
    assert not larger.exact[0]  # 4.5e-26 outside S is more than 4e-26
    assert bool(
        certify_bank(jnp.asarray(weights * 1e9), jnp.asarray(bias * np.float32(3e9))).exact[0]
    )


@pytest.mark.parametrize("scale, exact", [(1e-38, False), (1.2e-38, True), (3e38, True)])
def test_a_scale_that_is_flushed_is_zero(scale, exact):
    node = dense_bank(np.full((1, 3), 1e37), [0.5e37], [scale])
    assert certify(node).exact.tolist() == [exact]


def mapped(weight_map, bias_map, latent, bias, **options):
    """A dense neuron of latent parameters."""
    spec = Spec("dense", weight_map, bias_map, **options)
    return BiSE(
        jnp.asarray(latent, jnp.float32)[:, None],
        jnp.asarray([bias], jnp.float32),
        jnp.full(1, 9.0),
        spec,
    )


def test_a_bias_that_is_a_difference_of_large_numbers_is_not_known():
    """softplus(B) - 1e6 is some number between 0.06 and 0.13, by the program."""
    node = mapped("positive", "positive", [1.0, -20.0], 1e6 + 0.1, offset=-1e6)
    assert not certify(node).exact[0]
    assert bool(certify(mapped("positive", "positive", [1.0, -20.0], 0.1, offset=-0.1)).exact[0])


@pytest.mark.parametrize(
    "latent, factor, exact", [(-87.2, 1, False), (-40, 1, True), (-40, 1e-25, False)]
)
def test_quotients_of_almost_nothing_are_not_known(latent, factor, exact):
    node = mapped("dual", "raw", [latent, latent], 0.2 * factor, factor=factor)
    node = BiSE(node.weight, node.bias, node.scale / factor, node.spec)
    assert certify(node).exact.tolist() == [exact]


@pytest.mark.parametrize(
    "maps, sums",
    [
        (("identity", "raw"), 1),
        (("positive", "centred"), 1),
        (("positive", "interval_projected"), 2),
        (("dual", "raw"), 2),
        (("dual", "centred"), 2),
        (("dual", "interval_projected"), 3),
    ],
)
def test_each_sum_in_the_parameters_widens_the_allowance(maps, sums):
    """The bias at which an erosion by n equal weights begins to be certified tells the
    allowance."""
    n, unit = 64, 2.0**-24
    latent = jnp.full((n, 1), 1.0)
    weights = morphax.neurons.reparam.effective_weights(latent[:, 0], maps[0])
    size, high = float(weights.sum()), float(weights.min())
    gaps = np.linspace(0, 4, 400) * unit * sums * (4 * n + 32) * size
    raw = morphax.neurons.reparam.latent_bias(
        jnp.asarray(size - high + gaps, jnp.float32), maps[1], jnp.broadcast_to(weights, (400, n))
    )
    node = BiSE(
        jnp.broadcast_to(latent, (n, 400)), raw, jnp.full(400, 1e7 / size), Spec("dense", *maps)
    )
    gap = float(gaps[np.asarray(certify(node).exact).argmax()])
    bias_too = 1 + 32 / (sums * (4 * n + 32))
    assert 0.97 * bias_too < gap / (unit * sums * (4 * n + 32) * size) < 1.05 * bias_too


def test_the_coarsest_of_mixed_dtypes_counts():
    """A float16 bias: its softplus is known to 1e-3, whatever is added to it in float32."""
    spec = Spec("dense", "positive", "interval_projected")
    weight, scale = jnp.full((3, 1), 1.0), jnp.full(1, 50.0)
    low = float(jax.nn.softplus(1.0))
    for bias, exact in [(2 * low + 2e-2, False), (2.45 * low, True)]:  # between 2 and 2.5 weights
        latent = morphax.neurons.reparam.softplus_inverse(jnp.asarray([bias]))
        half = certify(BiSE(weight, latent.astype(jnp.float16), scale, spec)).exact
        single = certify(BiSE(weight, latent, scale, spec)).exact
        assert (half.tolist(), single.tolist()) == ([exact], [True])


def test_half_precision_has_its_limits():
    """Sums that overflow, and n for which rounding errors are as large as the sum."""
    for n, value, exact in [(4, 1.0, True), (4, 3e4, False), (200, 0.5, False)]:
        weights = np.zeros((1, n))
        weights[0, :2] = value
        node = dense_bank(weights, [value / 2], [1.0], jnp.float16)
        assert certify(node).exact.tolist() == [exact]


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_gpus_correlate_without_convolutions(platform):
    """Winograd's and Fourier's algorithms have other errors than a sum of products."""
    node = BiSE(jnp.ones((3, 3, 1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2)), Spec())
    images = jnp.ones((1, 6, 6, 1))
    text = jax.export.export(jax.jit(morphax.apply), platforms=[platform])(
        node, images
    ).mlir_module()
    assert ("stablehlo.convolution" in text) == (platform == "tpu")
    assert "HIGHEST" in text
