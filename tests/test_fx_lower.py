# ruff: noqa: E402 -- the file is skipped before anything of torch is imported
"""The FX frontend: modules, programs and graph modules become the graphs they are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import edpc
from edpc.errors import ModelError, UsageError
from edpc.frontends import load
from edpc.frontends.fx.table import ATEN
from edpc.ir.text import print_graph
from edpc.ir.verify import verify_input
from edpc.operators import KINDS
from tests.torch_networks import NETWORKS, Grouped, kinds, macs


def graph_of(module: nn.Module, *inputs: torch.Tensor, **options: object) -> edpc.Graph:
    graph = load(module, example_inputs=inputs, **options)
    verify_input(graph, "module", frozenset(KINDS))
    return graph


class Call(nn.Module):
    """A module that is one function."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> object:
        return self.function(*args)  # type: ignore[operator]


def called(function: object, *inputs: torch.Tensor, **options: object) -> edpc.Graph:
    return graph_of(Call(function), *inputs, **options)


def test_every_core_aten_operator_is_in_the_table() -> None:
    missing = []
    # The dispatcher's own list: `dir(torch.ops.aten)` grows with what was used before.
    registered = {
        name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")
    }
    for name in sorted(registered):
        packet = getattr(torch.ops.aten, name, None)
        if not hasattr(packet, "overloads"):
            continue
        core = any(torch.Tag.core in getattr(packet, overload).tags for overload in packet.overloads())
        if core and name not in ATEN:
            missing.append(name)
    assert missing == []


def test_every_row_names_a_kind_of_the_vocabulary_and_an_operator_of_aten() -> None:
    rows = {name: row for name, row in ATEN.items() if hasattr(row, "kind")}
    assert {row.kind for row in rows.values()} <= KINDS.keys()
    for name, row in ATEN.items():
        packet = getattr(torch.ops.aten, name, None) or getattr(torch.ops.aten, f"{name}_")
        schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
        known = {argument.name for schema in schemas for argument in schema.arguments}
        assert set(getattr(row, "operands", None) or ()) <= known, name


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_those_of_the_flop_counter(name: str) -> None:
    module, inputs = NETWORKS[name]()
    counter = FlopCounterMode(display=False)
    # The training path of the encoder and the plain form of attention call nothing the counter cannot see.
    with counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        module.train()(*inputs)
    assert 2 * macs(graph_of(module, *inputs)) == counter.get_total_flops()


def test_hand_counted_networks() -> None:
    # 3 projections of 64 -> 128, 32, 32 for 2 * 10 tokens, then 8 heads of 10 x 10 x 16 twice for 2 images.
    graph = graph_of(Grouped(), torch.zeros(2, 10, 64))
    assert macs(graph) == 20 * 64 * (128 + 32 + 32) + 2 * (2 * 8 * 10 * 10 * 16)
    # Two layers, both directions, 4 gates of 16: 5 steps of 2 sequences; the second layer reads 2 * 16 features.
    graph = graph_of(nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True), torch.zeros(2, 5, 8))
    assert macs(graph) == 10 * 2 * 64 * (8 + 16) + 10 * 2 * 64 * (32 + 16)
    assert kinds(graph)["lstm"] == 2
    graph = graph_of(nn.GRU(8, 16), torch.zeros(5, 2, 8))
    assert macs(graph) == 10 * 48 * (8 + 16)
    graph = graph_of(nn.GRUCell(8, 16), torch.zeros(2, 8))
    assert macs(graph) == 2 * 48 * (8 + 16)
    graph = graph_of(nn.ConvTranspose2d(4, 6, 3, stride=2), torch.zeros(1, 4, 5, 5))
    assert macs(graph) == 25 * 4 * 6 * 9


def test_attention_is_expanded_and_keeps_its_name() -> None:
    graph = graph_of(Grouped(), torch.zeros(2, 10, 64))
    parts = [op for _, op in graph.items() if op.location and op.location.source_type == "aten.scaled_dot_product_attention"]
    assert [op.kind for op in parts if op.is_compute and op.kind != "reshape"] == ["matmul", "mul", "softmax", "matmul"]
    softmax = next(op for op in parts if op.kind == "softmax")
    assert softmax.attribute("causal") is True
    assert softmax.attribute("query_group") == 4
    assert {op.location.source_name for op in parts if op.location} == {"scaled_dot_product_attention"}


def test_a_mask_is_added_or_chosen_by() -> None:
    q = torch.zeros(1, 2, 4, 8)
    added = called(lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), q, torch.zeros(4, 4))
    chosen = called(lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), q, torch.ones(4, 4, dtype=torch.bool))
    assert kinds(added)["add"] == 1
    assert kinds(chosen)["where"] == 1


def test_attention_of_three_axes() -> None:
    q = torch.zeros(6, 4, 8)
    graph = called(lambda q: F.scaled_dot_product_attention(q, q, q), q)
    assert macs(graph) == 2 * 6 * 4 * 4 * 8
    assert graph.type_of(graph.operands("return")[0]).shape == (6, 4, 8)


def test_modules_are_exported_for_inference_and_left_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4)).train()
    graph = graph_of(module, torch.zeros(2, 4))
    assert all(each.training for each in module.modules())
    assert not next(op for _, op in graph.items() if op.kind == "batch_norm").attribute("training_mode")
    assert kinds(graph)["dropout"] == 0


def test_a_shared_parameter_is_one() -> None:
    module = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 8, bias=False))
    module[2].weight = module[0].weight
    graph = graph_of(module, torch.zeros(2, 8))
    assert graph.info.parameters == 64
    weight = next(name for name, op in graph.items() if op.kind == "parameter")
    assert len(list(graph.uses(weight))) == 2


def test_locations_name_the_modules() -> None:
    graph = graph_of(NETWORKS["encoder"]()[0], torch.zeros(2, 32, 128))
    where = {op.location.source_name: op.location for _, op in graph.items() if op.is_compute and op.location}
    assert where["linear1.linear_2"].source_type == "aten.linear"
    assert {loc.module_path for loc in where.values()} >= {"self_attn", "linear1", "linear2", "norm1"}


def test_in_place_operators_are_their_functional_form() -> None:
    def written(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y.relu_()
        y.add_(1)
        return y

    graph = called(written, torch.zeros(4, 4))
    assert kinds(graph) == {"mul": 1, "relu": 1, "add": 1}
    order = [op.kind for _, op in graph.items() if op.is_compute]
    assert order == ["mul", "relu", "add"]


def test_writing_into_a_part_moves_the_part_and_is_read_afterwards() -> None:
    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(8, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.cache[2:4] = x
            return self.cache.sum(0)

    graph = graph_of(Cache(), torch.zeros(2, 4))
    scatter = next(name for name, op in graph.items() if op.kind == "tensor_scatter")
    assert graph.op(scatter).inputs[1].shape == (2, 4)
    summed = next(name for name, op in graph.items() if op.kind == "reduce_sum")
    assert graph.operands(summed)[0].node == scatter
    assert graph.info.parameters == 0  # a buffer that is written is state


def test_a_broadcast_costs_where_it_is_spelled_out() -> None:
    free = called(lambda x: x.expand(3, 4) + 1, torch.zeros(1, 4))
    copied = called(lambda x: x[:, None].expand(2, 3, 4).reshape(6, 4), torch.zeros(2, 4))
    assert kinds(free)["expand"] == 0
    assert kinds(free)["view_expand"] == 1
    assert kinds(copied)["expand"] == 1


def test_made_tensors_are_constants_unless_they_are_written() -> None:
    known = called(lambda x: x + torch.arange(4), torch.zeros(4))
    written = called(lambda x: torch.zeros(4).index_put_((torch.tensor([1]),), x[:1]), torch.zeros(4))
    assert kinds(known)["range"] == 0
    assert kinds(written)["fill"] == 1
    assert next(op for _, op in written.items() if op.kind == "scatter_nd").attribute("in_place") is True


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (lambda x: torch.addmm(x, x, x), (4, 4), {"matmul": 1}),
        (lambda x: torch.add(x, x, alpha=2), (4,), {"mul": 1, "add": 1}),
        (lambda x: x.max(dim=0).values, (4, 4), {"reduce_max": 1}),
        (lambda x: x.max(dim=0), (4, 4), {"reduce_max": 1, "argmax": 1}),
        (lambda x: torch.maximum(x, x), (4,), {"max": 1}),
        (lambda x: x.clamp(min=0), (4,), {"clip": 1}),
        (lambda x: F.glu(x), (2, 8), {"split": 1, "sigmoid": 1, "mul": 1}),
        (lambda x: torch.stack([x, x]), (4,), {"reshape": 2, "concat": 1}),
        (lambda x: x.unbind(1)[0], (4, 2), {"split": 1, "reshape": 1}),
        (lambda x: x.t().contiguous(), (4, 2), {"transpose": 1, "identity": 1}),
        (lambda x: x.t(), (4, 1), {"reshape": 1}),
        (lambda x: x[1], (4, 2), {"slice": 1}),
        (lambda x: x[:], (4, 2), {}),
        (lambda x: x.half().float(), (4,), {"cast": 2}),
        (lambda x: torch.einsum("ij,jk->ik", x, x), (4, 4), {"einsum": 1}),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 4, 4), {"resize": 1}),
        (lambda x: F.adaptive_avg_pool2d(x, 1), (1, 2, 4, 4), {"global_average_pool": 1}),
        (lambda x: F.adaptive_avg_pool2d(x, 2), (1, 2, 4, 4), {"average_pool": 1}),
        (lambda x: F.max_pool2d(x, 2), (1, 2, 4, 4), {"max_pool": 1}),
        (lambda x: torch.topk(x, 2).values, (4,), {"top_k": 1}),
        (lambda x: x.var(0), (4, 4), {"reduce_mean": 1, "sub": 1, "reduce_sum_square": 1, "div": 1}),
        (lambda x: torch.cdist(x, x), (4, 3), {"matmul": 1, "reduce_sum_square": 2, "sum_n": 1, "sqrt": 1}),
        (lambda x: torch.where(x > 0, x, 0.0), (4,), {"greater": 1, "where": 1}),
        (lambda x: torch.fft.rfft2(x).abs(), (4, 8), {"bit_cast": 2, "dft": 2, "abs": 1}),
        (lambda x: F.rms_norm(x, (4,)), (2, 4), {"rms_norm": 1}),
        (lambda x: F.group_norm(x, 2), (2, 4, 3), {"group_norm": 1}),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), (4,), {"div": 1, "floor": 1}),
    ],
)
def test_operators_become_kinds(function: object, shape: tuple[int, ...], expected: dict[str, int]) -> None:
    found = kinds(called(function, torch.zeros(shape)))
    assert {kind: count for kind, count in found.items() if kind != "identity" or "identity" in expected} == expected


def test_decomposed_programs_are_read_too() -> None:
    module, inputs = NETWORKS["encoder"]()
    program = torch.export.export(module.eval(), inputs)
    assert macs(load(program.run_decompositions())) == macs(load(program))
    assert not [kind for kind in kinds(load(program.run_decompositions())) if kind == "unknown"]


def test_an_unknown_operator_is_named() -> None:
    graph = called(lambda x: torch.linalg.eigvalsh(x), torch.zeros(4, 4))
    unknown = next(op for _, op in graph.items() if op.kind == "unknown")
    assert unknown.location is not None
    assert unknown.location.source_type.startswith("aten.")


def test_control_flow_is_lowered_in_place() -> None:
    weight = torch.zeros(8, 8)
    graph = called(lambda x: torch.cond(x.sum() > 0, lambda a: a @ a, lambda a: a + 1, (x,)), weight)
    assert macs(graph) == 8 * 8 * 8
    assert next(op for _, op in graph.items() if op.kind == "add").attribute("executions") == 0
    assert any("true branch is counted as taken" in note for note in graph.info.notes)

    def counted(x: torch.Tensor) -> torch.Tensor:
        from torch._higher_order_ops.while_loop import while_loop

        return while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y @ y), (torch.zeros((), dtype=torch.int64), x))[1]

    assert macs(called(counted, weight)) == 512
    assert macs(called(counted, weight, trip_count={"while_loop": 3})) == 3 * 512


def test_free_dimensions_are_set_by_name() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).reshape(x.shape[0] * x.shape[1], 4)

    free = ({0: torch.export.Dim("images"), 1: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Rows(), (torch.zeros(2, 5, 8),), dynamic_shapes=free)
    with pytest.raises(UsageError, match=r"--dim images=1 --dim s[0-9]+=128"):
        load(program)
    symbol = str(program.graph_module.graph.find_nodes(op="placeholder")[-1].meta["val"].shape[1])
    graph = load(program, dims={"images": 3, symbol: 7})
    assert graph.type_of(graph.operands("return")[0]).shape == (21, 4)
    assert load(program, batch=3, dims={symbol: 7}).info.batch == 3
    assert print_graph(load(program, shapes={"x": (3, 7, 8)})) == print_graph(graph)
    for wrong, words in (
        ({"dims": {"imagse": 3}}, "did you mean 'images'"),
        ({"shapes": {"y": (1,)}}, "no input 'y'"),
        ({"shapes": {"x": (3, 7, 9)}}, "fixed at 8"),
        ({"shapes": {"x": (3, 7)}}, "3 dimensions"),
        ({"dims": {"images": 0}}, "no size"),
        ({"dims": {"images": 2}, "batch": 3}, "contradicts 2"),
    ):
        with pytest.raises(UsageError, match=words):
            load(program, **wrong)


def test_a_module_is_exported_in_the_shapes_asked_for() -> None:
    module = nn.Conv2d(3, 8, 3)
    graph = graph_of(module, torch.zeros(1, 3, 8, 8), batch=5)
    assert graph.info.batch == 5
    graph = graph_of(module, torch.zeros(1, 3, 8, 8), shapes={"input": (2, 3, 16, 16)})
    assert graph.type_of(graph.operands("return")[0]).shape == (2, 8, 14, 14)
    with pytest.raises(UsageError, match="no tensor input 'x'"):
        graph_of(module, torch.zeros(1, 3, 8, 8), shapes={"x": (1,)})
    fixed = torch.export.export(module, (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(UsageError, match=r"fixed at 1 .* export it again"):
        load(fixed, batch=2)


def test_modules_on_the_meta_device_hold_no_memory() -> None:
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 1 << 14)
    assert macs(graph_of(module, torch.zeros(1, 1 << 20))) == 1 << 34


def test_graph_modules_of_aten_calls() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    made = make_fx(lambda x, y: torch.relu(x @ y), tracing_mode="fake")(torch.zeros(4, 8), torch.zeros(8, 2))
    graph = load(made)
    assert kinds(graph) == {"matmul": 1, "relu": 1}
    assert macs(graph) == 64
    unlowered = torch.fx.symbolic_trace(nn.Linear(4, 4))
    with pytest.raises(ModelError, match=r"torch\.export"):
        load(unlowered)
    assert macs(load(unlowered, example_inputs=torch.zeros(1, 4))) == 16


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(UsageError, match="without example inputs"):
        load(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="Tensor is not supported"):
        load(torch.zeros(2))
    with pytest.raises(UsageError, match=r"belong to an nn\.Module"):
        load("model.onnx", example_inputs=(torch.zeros(2),))
    with pytest.raises(ModelError, match=r"cannot be exported by torch\.export"):
        load(nn.Linear(2, 2), example_inputs=torch.zeros(3, 3))


def test_the_api_takes_modules() -> None:
    report = edpc.compile(nn.Linear(16, 4), "tpu", example_inputs=torch.zeros(2, 16))
    assert report.model.macs == 128
    assert report.model.parameters == 68


def test_the_graph_of_a_program_knows_its_parameters() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(8, 16), nn.BatchNorm1d(16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.fc(x))

    program = torch.export.export(Normed().eval(), (torch.zeros(3, 8),))
    lifted, whole = (load(each) for each in (program.graph_module, program))
    assert lifted.info.parameters == whole.info.parameters == 8 * 16 + 5 * 16
    assert lifted.info.batch == whole.info.batch == 3
    assert [op.kind for _, op in lifted.items()] == [op.kind for _, op in whole.items()]
