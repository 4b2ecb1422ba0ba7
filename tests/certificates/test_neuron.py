"""Certificates against brute force: every input, every structuring element, both operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neuron_oracle
from helpers.networks import DENSE
from helpers.neuron_oracle import DILATION, EROSION

import morphax
from morphax import binarize
from morphax.certificates.neuron import certify_node
from morphax.neurons.nodes import BiSE, Spec, unbank

N_NEURONS = 6000
N_ZONED = 1800
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


@pytest.mark.first(3)
@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spatial_neurons_agree_on_all_512_windows(border, dtype):
    weights, bias = neuron_oracle.draw(np.random.default_rng(4), 600, 9, dtype=dtype)
    spec = Spec("spatial", "identity", "raw", border=border)
    with x64(dtype):
        rows = jnp.zeros((1, 600), dtype)
        shell = BiSE(jnp.zeros((3, 3, 1, 600), dtype), rows, rows, spec)
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


# --- the counter-examples of docs/numerics.md
