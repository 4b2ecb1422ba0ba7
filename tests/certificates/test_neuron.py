"""Certificates against brute force: every input, every structuring element, both operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from helpers import neuron_oracle
from helpers.networks import binarize
from helpers.neuron_oracle import DILATION, EROSION

import morphax
from morphax.certificates.neuron import certify_node
from morphax.neurons.nodes import BiSE, Spec, unbank

N_NEURONS = 6000
N_ZONED = 1800
DENSE = Spec("dense", "identity", "raw")
ALL_512 = neuron_oracle.binary_inputs(9)

certify_bank = jax.jit(morphax.certify_neurons)
certify_zoned = jax.jit(
    lambda weights, bias, v1, v2: morphax.certify_neurons(weights, bias, dead_zone=(v1, v2))
)
node_certificate = jax.jit(lambda node, v1, v2: certify_node(node, dead_zone=(v1, v2)))
run = jax.jit(morphax.apply)
certify = jax.jit(morphax.certify)


def x64(dtype):
    return jax.enable_x64(dtype == np.float64)


@pytest.fixture(scope="module")
def table():
    return neuron_oracle.operations(ALL_512)


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def exhausted(request, table):
    """Random 3x3 neurons: parameters, certificate, and what each really is on all 512 inputs."""
    dtype = request.param
    weights, bias = neuron_oracle.draw(np.random.default_rng(1), N_NEURONS, 9, dtype=dtype)
    with x64(dtype):
        certificate = jax.device_get(certify_bank(jnp.asarray(weights), jnp.asarray(bias)))
    assert certificate.margin.dtype == dtype
    truth = neuron_oracle.sums(weights, ALL_512) > bias[:, None]
    really = [table.get(row.tobytes(), []) for row in truth]
    return dtype, weights, bias, certificate, truth, really


def test_certified_neurons_are_the_operation_on_all_512_inputs(exhausted):
    _, _, _, certificate, truth, really = exhausted
    exact = certificate.exact
    expected = neuron_oracle.outputs(certificate.selem, certificate.operation, ALL_512)
    np.testing.assert_array_equal(truth[exact], expected[exact])
    for i in np.flatnonzero(exact):
        assert (certificate.operation[i], tuple(certificate.selem[i].tolist())) in really[i]
    kinds = certificate.operation[exact]
    assert (kinds == EROSION).sum() > 500  # the sample is worth something
    assert (kinds == DILATION).sum() > 500


def test_uncertified_neurons_are_no_operation_up_to_the_allowance(exhausted):
    dtype, weights, bias, certificate, _, really = exhausted
    is_operation = np.array([bool(found) for found in really])
    missed = np.flatnonzero(~certificate.exact & is_operation)
    v1, v2 = np.zeros_like(weights), np.ones_like(weights)
    gaps = []
    for i in missed:  # measured for the S that brute force found, not the certificate's
        operation, selem = (np.array([z]) for z in really[i][0])
        low, high = neuron_oracle.bounds(weights[i : i + 1], selem, operation, v1[:1], v2[:1])
        gaps.append(min(bias[i] - low[0], high[0] - bias[i]))
    allowed = 2 * neuron_oracle.allowance(weights[missed], bias[missed], dtype)
    assert (np.array(gaps) <= allowed + 1e-37).all()
    assert (~is_operation).sum() > 1000
    assert len(missed) < (certificate.exact.sum())  # the allowance costs little


def test_certificates_agree_with_the_float_forward_pass(exhausted):
    """The real network code, in the dtype of the parameters, negative scales included."""
    dtype, weights, bias, _, truth, _ = exhausted
    scale = np.random.default_rng(2).choice([-1, 1], N_NEURONS) * 10 ** np.random.default_rng(
        3
    ).uniform(-1, 3, N_NEURONS)
    with x64(dtype):
        node = BiSE(
            jnp.asarray(weights.T), jnp.asarray(bias), jnp.asarray(scale.astype(dtype)), DENSE
        )
        output = np.asarray(run(node, jnp.asarray(ALL_512.astype(dtype))))
        exact = np.asarray(certify(node).exact)
    assert output.dtype == dtype
    expected = truth.T ^ (scale < 0)
    np.testing.assert_array_equal((output > 0.5)[:, exact], expected[:, exact])
    assert exact.sum() > 1000
    assert exact[scale < 0].sum() > 300


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_spatial_neurons_agree_on_all_512_windows(border, dtype):
    weights, bias = neuron_oracle.draw(np.random.default_rng(4), 600, 9, dtype=dtype)
    spec = Spec("spatial", "identity", "raw", border=border)
    with x64(dtype):
        shell = BiSE(jnp.zeros((3, 3, 1, 600), dtype), None, None, spec)
        node = BiSE(
            unbank(shell, jnp.asarray(weights)[None]),
            jnp.asarray(bias)[None],
            jnp.full((1, 600), 9.0, dtype),
            spec,
        )
        images = jnp.asarray(ALL_512.reshape(512, 3, 3, 1))
        output = np.asarray(run(node, images.astype(dtype)))[:, :, :, 0] > 0.5
        certificate = certify(node)
        binary = np.asarray(run(binarize(node), images))[:, :, :, 0]
    exact = np.asarray(certificate.exact)[0]
    assert 0.2 < exact.mean() < 0.8
    # Certified: every pixel, the frame included; the centre alone sees the whole window.
    np.testing.assert_array_equal(output[..., exact], binary[..., exact])
    selem = np.asarray(certificate.selem).reshape(9, 600).T
    centre = neuron_oracle.outputs(selem, np.asarray(certificate.operation)[0], ALL_512)
    np.testing.assert_array_equal(output[:, 1, 1, exact], centre.T[:, exact])


def zones(rng, n, kind):
    """Dead zones of N_ZONED neurons, one for each input."""
    shape = (N_ZONED, n)
    if kind == "binary":
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if kind == "scalar":
        return np.full(shape, 0.25, np.float32), np.full(shape, 0.875, np.float32)
    return (
        rng.choice([0, 0.125, 0.3, 0.45], shape).astype(np.float32),
        rng.choice([1, 0.9, 0.75, 0.55], shape).astype(np.float32),
    )


def zone_inputs(v1, v2):
    """All inputs with values 0, v1, v2, 1: `(neurons, 4^n, n)`, and the bits they stand for."""
    n = v1.shape[1]
    choice = np.array(list(np.ndindex(*(4,) * n)))
    values = np.stack([np.zeros_like(v1), v1, v2, np.ones_like(v1)], -1)
    return values[:, np.arange(n), choice], choice >= 2


@pytest.mark.parametrize("kind", ["binary", "scalar", "per input"])
@pytest.mark.parametrize("n", [3, 4])
def test_dead_zones_by_brute_force(n, kind):
    """All S, both operations, inputs at the edges of the zones: an if and only if."""
    rng = np.random.default_rng(n)
    v1, v2 = zones(rng, n, kind)
    weights, bias = neuron_oracle.draw(rng, N_ZONED, n, zone=(v1, v2))
    certificate = jax.device_get(certify_zoned(*map(jnp.asarray, (weights, bias, v1, v2))))
    values, bits = zone_inputs(v1, v2)
    truth = neuron_oracle.sums(weights, values) > bias[:, None]
    table = neuron_oracle.operations(bits)
    really = [table.get(row.tobytes(), []) for row in truth]
    slack = 2 * neuron_oracle.allowance(weights, bias, np.float32) + 1e-37
    for i in range(N_ZONED):
        found = (certificate.operation[i], tuple(certificate.selem[i].tolist()))
        if certificate.exact[i]:
            assert found in really[i]
        elif really[i]:
            operation, selem = (np.array([z]) for z in really[i][0])
            low, high = neuron_oracle.bounds(
                weights[i : i + 1], selem, operation, v1[i : i + 1], v2[i : i + 1]
            )
            assert min(bias[i] - low[0], high[0] - bias[i]) <= slack[i]
    share = certificate.exact.mean()
    assert 0.1 < share < 0.9
    assert np.mean([not found for found in really]) > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", morphax.neurons.nodes.thresholds.THRESHOLDS)
def test_outputs_stay_outside_the_dead_zone_that_is_promised(threshold, dtype):
    """A bank of LUIs, one zone per channel, run on inputs at the edges of the zones."""
    rng = np.random.default_rng(7)
    v1, v2 = zones(rng, 4, "per input")
    weights, bias = neuron_oracle.draw(rng, N_ZONED, 4, zone=(v1, v2))
    scale = rng.choice([-1, 1], N_ZONED) * 10 ** rng.uniform(-1, 4, N_ZONED)
    values, bits = zone_inputs(v1, v2)
    with x64(dtype):
        node = BiSE(
            *(jnp.asarray(a.astype(dtype)) for a in (weights.T, bias, scale)),
            Spec("lui", "identity", "raw", threshold=threshold),
        )
        certificate, (low, high) = jax.device_get(
            node_certificate(node, *(jnp.asarray(v.astype(dtype)) for v in (v1, v2)))
        )
        x = jnp.asarray(values.transpose(1, 2, 0).astype(dtype))
        output = np.asarray(run(node, x)).T  # (neurons, inputs)
    exact = certificate.exact
    on = neuron_oracle.outputs(certificate.selem.T, certificate.operation, bits)
    on = on ^ (scale < 0)[:, None]
    assert ((output >= high[:, None]) | ~on)[exact].all()
    assert ((output <= low[:, None]) | on)[exact].all()
    assert (low[exact] < 0.5).all()
    assert (high[exact] > 0.5).all()
    assert (low[~exact] == 0.5).all()
    assert (high[~exact] == 0.5).all()
    assert 0.15 < exact.mean() < 0.9
    # The promise is tight: some output comes near each end.
    gap = np.where(on, output - high[:, None], low[:, None] - output).min(1)[exact]
    assert (gap < 1e-3).mean() > 0.95


@pytest.mark.parametrize("e", [1.0, 0.5, 0.125])
def test_symmetric_neurons_by_brute_force(e):
    """SyBiSE on [-1, -e] and [e, 1]: the corners decide."""
    rng, n = np.random.default_rng(11), 4
    shape = (N_ZONED, n)
    v1, v2 = (np.full(shape, (1 + s * e) / 2, np.float32) for s in (-1, 1))
    weights, unit_bias = neuron_oracle.draw(rng, N_ZONED, n, zone=(v1, v2))
    bias = (2 * unit_bias.astype(np.float64) - weights.sum(1, dtype=np.float64)).astype(np.float32)
    scale = np.where(np.arange(N_ZONED) % 3, 50, -50).astype(np.float32)
    spec = Spec("lui", "identity", "raw", symmetric=True)
    node = BiSE(jnp.asarray(weights.T), jnp.asarray(bias), jnp.asarray(scale), spec)
    certificate, (low, high) = jax.device_get(node_certificate(node, v1, v2))
    values, bits = zone_inputs(v1, v2)
    values = 2 * values - 1
    potential = neuron_oracle.sums(weights, values)
    truth = potential > bias[:, None]
    table = neuron_oracle.operations(bits)
    really = [table.get(row.tobytes(), []) for row in truth]
    selem, exact = certificate.selem.T, certificate.exact
    slack = 8 * neuron_oracle.allowance(weights, bias, np.float32) + 1e-6 / 50
    near = np.abs(potential - bias[:, None]).min(1) <= slack
    for i in range(N_ZONED):
        if exact[i]:
            assert (certificate.operation[i], tuple(selem[i].tolist())) in really[i]
        else:
            assert near[i] or not really[i]
    assert 0.04 < exact.mean() < 0.9
    x = jnp.asarray(values.transpose(1, 2, 0).astype(np.float32))
    output = np.asarray(run(node, x)).T
    on = neuron_oracle.outputs(selem, certificate.operation, bits) ^ (scale < 0)[:, None]
    np.testing.assert_array_equal((output > 0)[exact], on[exact])
    unit = (output + 1) / 2
    assert ((unit >= high[:, None] - 1e-7) | ~on)[exact].all()
    assert ((unit <= low[:, None] + 1e-7) | on)[exact].all()


def test_symmetric_certificate_is_the_interval_of_the_papers():
    """Theory, section 4: L and U of SyBiSE in its own coordinates, dilation and erosion."""
    e, checked = 0.3, 0
    for selem in neuron_oracle.binary_inputs(4)[1:]:
        w = np.where(selem, [1.0, 1.2, 0.9, 1.1], [0.03, -0.05, 0.02, -0.01])
        low = -e * w[selem].sum() + np.abs(w[~selem]).sum()
        high = -np.abs(w).sum() + (1 + e) * w[selem].min()
        if high - low < 0.2:
            continue
        bias = np.array([low + 0.01, high - 0.01, low - 0.01, high + 0.01], np.float32)
        bias = np.concatenate([bias, -bias])
        node = BiSE(
            jnp.tile(jnp.asarray(w, jnp.float32)[:, None], (1, 8)),
            jnp.asarray(bias),
            jnp.full(8, 100.0),
            Spec("dense", "identity", "raw", symmetric=True),
        )
        found, _ = node_certificate(node, (1 - e) / 2, (1 + e) / 2)
        assert found.exact.tolist() == [True, True, False, False] * 2
        assert (np.asarray(found.selem[:, :2]) == selem[:, None]).all()
        if selem.sum() > 1:
            assert found.operation[:2].tolist() == [DILATION] * 2
            assert found.operation[4:6].tolist() == [EROSION] * 2
        checked += 1
    assert checked >= 4


def dense_bank(weights, bias, scale, dtype=jnp.float32):
    """A dense bank of one neuron a row of `weights`."""
    return BiSE(
        jnp.asarray(weights, dtype).T, jnp.asarray(bias, dtype), jnp.asarray(scale, dtype), DENSE
    )


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
    """At b = P / 2 an off-centre translation reads the frame by a coin toss: only "ignore" minds."""
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


# --- the counter-examples of docs/numerics.md


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
    return BiSE(jnp.asarray(latent, jnp.float32)[:, None], jnp.asarray([bias], jnp.float32),
                jnp.full(1, 9.0), spec)  # fmt: skip


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
    """The bias at which an erosion by n equal weights begins to be certified tells the allowance."""
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


def asymmetric(rng, shape):
    """A window that differs from its reflection, of every orientation."""
    while True:
        window = rng.random(shape) < 0.35
        if window.sum() > 1 and (window != window[::-1, ::-1]).any():
            return window


def spatial_bank(rng, border, window=(3, 5), channels=(2, 3)):
    """A certified bank and the windows it looks at, (kh, kw, in, out); half of it erosions."""
    weight, bias = np.zeros((*window, *channels)), np.zeros(channels)
    selem = np.zeros(weight.shape, bool)
    erosion = np.arange(np.prod(channels)).reshape(channels) % 2 == 0
    for index in np.ndindex(*channels):
        selem[(..., *index)] = asymmetric(rng, window)
        w = np.where(
            selem[(..., *index)], rng.uniform(0.9, 1.1, window), rng.uniform(-0.01, 0.01, window)
        )
        weight[(..., *index)] = w
        bias[index] = np.maximum(w, 0).sum() - 0.4 if erosion[index] else 0.4
    node = BiSE(
        jnp.asarray(weight, jnp.float32),
        jnp.asarray(bias, jnp.float32),
        jnp.full(channels, 20.0),
        Spec("spatial", "identity", "raw", border=border),
    )
    return node, selem, erosion


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_textbook_structuring_elements_reproduce_the_neurons(border, rng):
    node, selem, erosion = spatial_bank(rng, border)
    certificate = certify(node)
    assert certificate.exact.all()
    np.testing.assert_array_equal(certificate.selem, selem)
    binary = binarize(node)
    images = rng.random((4, 11, 16, 2)) < rng.random((4, 1, 1, 1))
    output = np.asarray(run(node, jnp.asarray(images, jnp.float32))) > 0.5
    np.testing.assert_array_equal(output, run(binary, jnp.asarray(images)))
    for i, o in np.ndindex(2, 3):
        textbook = np.asarray(morphax.structuring_element(certificate, i, o))
        np.testing.assert_array_equal(textbook, morphax.structuring_element(binary, i, o))
        operator = oracle.erosion if erosion[i, o] else oracle.dilation
        for image, result in zip(images, output, strict=True):
            np.testing.assert_array_equal(
                result[..., i, o], operator(image[..., i], textbook, border)
            )


def test_structuring_element_refuses():
    node, _, _ = spatial_bank(np.random.default_rng(0), "ignore")
    certificate = certify(node)
    for index in [(2, 0), (0, 3), (-1, 0)]:
        with pytest.raises(ValueError, match="index"):
            morphax.structuring_element(certificate, *index)
    with pytest.raises(ValueError, match="index"):
        morphax.structuring_element(certificate, 0)
    with pytest.raises(ValueError, match="found"):
        morphax.structuring_element(morphax.certify_neurons(jnp.ones(3), jnp.array(0.5)), 0, 0)


@pytest.mark.parametrize(
    "weights, bias, argument",
    [
        (jnp.ones((2, 3)), jnp.ones(3), "bias"),
        (jnp.ones((2, 3)), jnp.ones(()), "bias"),
        (jnp.ones((2, 0)), jnp.ones(2), "weights"),
        (jnp.ones(()), jnp.ones(()), "weights"),
    ],
)
def test_shapes_that_do_not_fit(weights, bias, argument):
    with pytest.raises(ValueError, match=f"^{argument}: expected"):
        morphax.certify_neurons(weights, bias)


def test_certify_keeps_the_tree():
    node = dense_bank(np.ones((2, 3)), [0.5, 2.5], [1, 1])
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), node)
    found = morphax.certify({"a": [node], "b": stacked, "step": 3})
    assert found["step"] == 3
    assert found["a"][0].selem.shape == node.weight.shape
    assert found["b"].selem.shape == (4, 3, 2)
    assert found["b"].exact.shape == (4, 2)
    assert found["a"][0].operation.tolist() == [DILATION, EROSION]


@pytest.mark.parametrize("field", ["weight", "bias", "scale"])
def test_complex_parameters_are_refused(field):
    """Found by fuzzing: JAX's own errors came from the depths, or none came."""
    arrays = {"weight": np.ones((3, 2)), "bias": np.ones(2), "scale": np.ones(2)}
    arrays[field] = arrays[field].astype(np.complex64)
    node = morphax.BiSE(**arrays, spec=Spec("dense", "identity", "raw"))
    uses = (
        lambda: morphax.certify(node),
        lambda: morphax.certify([node]),
        lambda: morphax.binarize([node]),
        lambda: morphax.apply(node, np.ones((4, 3), np.float32)),
        lambda: morphax.summary([node]),
    )
    for use in uses:
        with pytest.raises(ValueError, match=rf"{field}: expected real numbers, got .*complex64"):
            use()
