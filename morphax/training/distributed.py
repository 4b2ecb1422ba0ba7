"""Several devices: meshes, the layout of arrays, and functions that each device runs on its share.

Everything is built on JAX: a `Mesh` names the axes of a grid of devices, a `NamedSharding` says
along which of them an array is cut, and `jit` does the rest. The names of the axes:

| axis      | cut along it                                       | moved between devices     |
|-----------|----------------------------------------------------|---------------------------|
| "data"    | the batch, or packed words: the first axis         | the mean of the gradients |
| "neurons" | banks of neurons: the last axis of weight and bias | the outputs of a layer    |
| "members" | the runs of a sweep: the first axis                | nothing                   |

`morphax.project`, `certify` and `binarize` treat every neuron by itself: `per_neuron` and
`per_device` run them on the neurons of each device, and nothing is moved. With several processes
(`start`), each runs the same program on the same arguments; docs/guides/distributed.md has the
command lines.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from morphax import _checks
from morphax.neurons.nodes import is_node

DATA, NEURONS = "data", "neurons"


def start(
    *, coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Join the processes of a job; do nothing in a single process.

    Call it before any other JAX code.

    Args:
        coordinator: "HOST:PORT" of process 0, or "auto" where JAX finds the rest by itself (Slurm,
            Open MPI, Kubernetes, TPU pods); by default the variable JAX_COORDINATOR_ADDRESS.
        processes: Number of processes; by default JAX_NUM_PROCESSES.
        process: Number of this process; by default JAX_PROCESS_ID.

    Raises:
        ValueError: A coordinator without the numbers, or the other way round.

    Example:
        >>> start()  # alone
        >>> jax.process_count()
        1
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    processes = _number("JAX_NUM_PROCESSES") if processes is None else processes
    process = _number("JAX_PROCESS_ID") if process is None else process
    given = (coordinator, processes, process)
    if all(value is None for value in given):
        return
    expected = "all three of coordinator, processes and process, or none"
    _checks.require(None not in given, "coordinator", expected, given)
    assert processes is not None
    assert process is not None
    _checks.require(0 <= process < processes, "process", f"0 to {processes - 1}", process)
    if processes > 1:
        jax.distributed.initialize(coordinator, processes, process)


def mesh(*, devices: Sequence[Any] | None = None, **axes: int) -> Mesh:
    """Arrange devices in a grid.

    Args:
        devices: Devices of the grid; those of all processes by default.
        **axes: Sizes by name, such as `data=4, neurons=2`; all devices on "data" by default.

    Returns:
        The mesh; its axes are automatic (`jit` decides what is moved).

    Raises:
        ValueError: Sizes that do not use every device.

    Example:
        >>> dict(mesh().shape) == {"data": jax.device_count()}
        True
    """
    chosen = list(jax.devices() if devices is None else devices)
    axes = axes or {DATA: len(chosen)}
    uses_all = min(axes.values()) >= 1 and math.prod(axes.values()) == len(chosen)
    _checks.require(uses_all, "axes", f"sizes whose product is {len(chosen)} devices", axes)
    types = (AxisType.Auto,) * len(axes)
    return jax.make_mesh(tuple(axes.values()), tuple(axes), types, devices=chosen)


def rows(grid: Mesh, tree: Any, *, over: str = DATA) -> Any:
    """Cut the arrays of a tree along their first axis: a batch, packed words, members of a sweep.

    Args:
        grid: Mesh of `mesh`.
        tree: Arrays that every process holds whole (for a batch read in parts: `rows_of_process`).
        over: Axis of the mesh; where it has no such axis, every device gets all.

    Returns:
        The tree on the devices.

    Raises:
        ValueError: A first axis that the devices do not divide.

    Example:
        >>> rows(mesh(), np.zeros((8 * jax.device_count(), 3))).shape[1]
        3
    """
    return jax.tree.map(lambda x: _put(x, NamedSharding(grid, _first(grid, over, x))), tree)


def rows_of_process(grid: Mesh, tree: Any, *, over: str = DATA) -> Any:
    """Join the rows that the processes have read to one batch, in their order.

    Args:
        grid: Mesh of `mesh`; its processes are in order along `over`.
        tree: Rows of this process, `(N / processes, ...)`.
        over: Axis of the mesh.

    Returns:
        The tree with arrays `(N, ...)`, cut along the first axis.

    Example:
        >>> rows_of_process(mesh(), np.zeros((8 * jax.device_count(), 3))).shape[1]
        3
    """

    def join(part: Any) -> jax.Array:
        whole = np.broadcast_to(part[:1], (len(part) * jax.process_count(), *part.shape[1:]))
        sharding = NamedSharding(grid, _first(grid, over, whole))
        return jax.make_array_from_process_local_data(sharding, np.asarray(part), whole.shape)

    return jax.tree.map(join, tree)


def copies(grid: Mesh, tree: Any) -> Any:
    """Copy every array of a tree to every device of a mesh.

    Example:
        >>> copies(mesh(), np.zeros(3)).is_fully_replicated
        True
    """
    return jax.tree.map(lambda x: _put(x, NamedSharding(grid, PartitionSpec())), tree)


def banks(grid: Mesh, tree: Any) -> Any:
    """Cut the banks of params, of an optimizer state or of a `TrainState` along their neurons.

    Args:
        grid: Mesh of `mesh`; without an axis "neurons" every device holds everything.
        tree: Any pytree; a bank whose last axis the devices do not divide is held whole.

    Returns:
        The tree on the devices.

    Example:
        >>> from morphax import models
        >>> node = models.init_dense_lui(jax.random.key(0), 16, 8 * jax.device_count())
        >>> tuple(banks(mesh(neurons=jax.device_count()), node).weight.sharding.spec)
        (None, 'neurons')
    """
    return jax.tree.map(_put, tree, shardings(grid, tree))


def shardings(grid: Mesh, tree: Any) -> Any:
    """Return the layout of `banks`: the same tree, with a `NamedSharding` for each array.

    Args:
        grid: Mesh of `mesh`.
        tree: Any pytree.

    Returns:
        The tree with a `NamedSharding` in place of each array.

    Example:
        >>> tuple(shardings(mesh(), {"step": np.zeros(())})["step"].spec)
        ()
    """

    def node(leaf: Any) -> Any:
        cut = is_node(leaf) and _divides(grid, leaf)
        return jax.tree.map(
            lambda x: NamedSharding(grid, _last(x) if cut else PartitionSpec()), leaf
        )

    return jax.tree.map(node, tree, is_leaf=is_node)


def constrain(grid: Mesh | None, state: Any, *, batch: Any = None) -> Any:
    """Inside `jit`: keep a state laid out as `banks` does and a batch as `rows` does.

    Args:
        grid: Mesh of `mesh`; None does nothing.
        state: Any pytree.
        batch: Arrays `(N, ...)`, or None.

    Returns:
        The state; `(state, batch)` where a batch was given.

    Example:
        >>> constrain(None, 1.0, batch=2.0)
        (1.0, 2.0)
    """
    if grid is not None:
        state = jax.lax.with_sharding_constraint(state, shardings(grid, state))
        batch = jax.tree.map(
            lambda x: jax.lax.with_sharding_constraint(
                x, NamedSharding(grid, _first(grid, DATA, x))
            ),
            batch,
        )
    return state if batch is None else (state, batch)


def per_device(
    function: Callable[..., Any],
    grid: Mesh,
    *,
    over: str = DATA,
    in_axes: int | Sequence[int | None] = 0,
    out_axes: int = 0,
) -> Callable[..., Any]:
    """Make each device run a function on its slice of the arguments: `vmap` without the batching.

    It suits functions that treat the entries of that axis independently: `project` of a bank `(N,
    n)`, a packed network over words, a vmapped sweep over its members. Nothing is moved between
    devices.

    Args:
        function: Function of pytrees of arrays.
        grid: Mesh of `mesh`.
        over: Axis of the mesh.
        in_axes: Axis (0 or -1) that is cut, or None for an argument that every device gets whole;
            one for all arguments, or one for each.
        out_axes: Axis (0 or -1) that is cut, for all results.

    Returns:
        The function of whole arrays, jitted.

    Raises:
        ValueError: A call with an axis that the devices do not divide.

    Example:
        >>> import morphax, jax.numpy as jnp
        >>> near = per_device(morphax.project, mesh())(jnp.ones((8, 4)), jnp.ones(8))
        >>> near.selem.shape
        (8, 4)
    """

    def spec(array: Any, axis: int | None) -> PartitionSpec:
        if axis is None:
            return PartitionSpec()
        size, count = array.shape[axis], grid.shape[over]
        _checks.require(size % count == 0, "axis", f"a multiple of {count} devices", size)
        return PartitionSpec(over) if axis == 0 else _last(array, over)

    @jax.jit
    def run(*arguments: Any) -> Any:
        axes = (
            [in_axes] * len(arguments) if in_axes is None or isinstance(in_axes, int) else in_axes
        )
        pairs = zip(arguments, axes, strict=True)
        ins = tuple(jax.tree.map(lambda x, a=axis: spec(x, a), tree) for tree, axis in pairs)
        results = jax.eval_shape(function, *arguments)
        outs = jax.tree.map(lambda x: spec(x, out_axes), results)
        # The check of varying values fails for while loops over constants; nothing is reduced.
        return jax.shard_map(function, mesh=grid, in_specs=ins, out_specs=outs, check_vma=False)(
            *arguments
        )

    return run


def per_neuron(function: Callable[[Any], Any], grid: Mesh) -> Callable[[Any], Any]:
    """Make each device run `certify`, `binarize` or `nearest` on its own neurons of every bank.

    Args:
        function: Function of a params tree, neuron by neuron; its results have the neurons on the
            last axis.
        grid: Mesh of `mesh`, with an axis "neurons".

    Returns:
        The function of a params tree laid out by `banks`; banks that are held whole are computed
        everywhere.

    Example:
        >>> import morphax
        >>> from morphax import models
        >>> node = models.init_dense_lui(jax.random.key(0), 16, 8 * jax.device_count())
        >>> grid = mesh(neurons=jax.device_count())
        >>> certificates = per_neuron(morphax.certify, grid)([node])
        >>> certificates[0].exact.shape == node.bias.shape
        True
    """
    cut = per_device(function, grid, over=NEURONS, in_axes=-1, out_axes=-1)
    whole = jax.jit(function)

    def each(leaf: Any) -> Any:
        if not is_node(leaf):
            return leaf
        return (cut if _divides(grid, leaf) else whole)(leaf)

    return lambda params: jax.tree.map(each, params, is_leaf=is_node)


def _divides(grid: Mesh, node: Any) -> bool:
    sizes = {leaf.shape[-1] for leaf in jax.tree.leaves(node)}
    return NEURONS in grid.shape and all(size % grid.shape[NEURONS] == 0 for size in sizes)


def _first(grid: Mesh, over: str, array: Any) -> PartitionSpec:
    if over not in grid.shape:
        return PartitionSpec()
    count = grid.shape[over]
    _checks.require(len(array) % count == 0, "rows", f"a multiple of {count} devices", len(array))
    return PartitionSpec(over)


def _last(array: Any, over: str = NEURONS) -> PartitionSpec:
    return PartitionSpec(*[None] * (array.ndim - 1), over)


def _put(array: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1 or (
        isinstance(array, jax.Array) and not array.is_fully_addressable
    ):
        return jax.device_put(array, sharding)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    local = np.asarray(array)
    return jax.make_array_from_callback(local.shape, sharding, lambda index: local[index])


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    _checks.require(text is None or text.isdigit(), variable, "a whole number", text)
    return None if text is None else int(text)
