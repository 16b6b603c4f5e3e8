"""Constants of machines as `python -m tools.fit --write` fitted and wrote them. Do not edit.

By machine, then by name; `added` is what ways of timing add to a kernel.
"""

from __future__ import annotations

from edpc.target import Quantity, measured

_0 = 'fit of 16 constants to 562 rows of 27 layers, of fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager); layers of odd hash held out'  # noqa: E501
_1 = 'fit of 7 constants to 757 rows of 573 layers, of fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch); layers of odd hash held out'  # noqa: E501
_2 = 'fit of 4 constants to 23 rows of 19 layers, of fp16 matmuls, softmax, layer normalisation and GELU on A100 SXM (LLMCompass, PyTorch); layers of odd hash held out'  # noqa: E501
_3 = '5 % and 95 % quantiles of measured over predicted, 682 rows of 39 layers, of decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_4 = 'fit of 18 constants to 682 rows of 39 layers, of decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_5 = 'fit of 7 constants to 493 rows of 61 layers, of encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_6 = '5 % and 95 % quantiles of measured over predicted, 493 rows of 61 layers, of encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_7 = 'fit of 11 constants to 612 rows of 46 layers, of causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_8 = '5 % and 95 % quantiles of measured over predicted, 612 rows of 46 layers, of causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out'  # noqa: E501
_9 = '5 % and 95 % quantiles of measured over predicted, 757 rows of 573 layers, of fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch); layers of odd hash held out'  # noqa: E501
_10 = 'fit of 13 constants to 1,781 rows of 112 layers, of bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs); layers of odd hash held out'  # noqa: E501
_11 = '5 % and 95 % quantiles of measured over predicted, 1,781 rows of 112 layers, of bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs); layers of odd hash held out'  # noqa: E501
_12 = 'fit of 11 constants to 683 rows of 112 layers, of fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs); layers of odd hash held out'  # noqa: E501
_13 = '5 % and 95 % quantiles of measured over predicted, 683 rows of 112 layers, of fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs); layers of odd hash held out'  # noqa: E501
_14 = 'first guess'  # noqa: E501
_15 = '5 % and 95 % quantiles of measured over predicted, 562 rows of 27 layers, of fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager); layers of odd hash held out'  # noqa: E501
_16 = 'fit of 8 constants to 1,387 rows of 112 layers, of bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22); layers of odd hash held out'  # noqa: E501
_17 = '5 % and 95 % quantiles of measured over predicted, 1,387 rows of 112 layers, of bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22); layers of odd hash held out'  # noqa: E501
FITTED: dict[str, dict[str, Quantity]] = {
    'a100-pcie-80gb': {
        'vector.stream': measured(0.8703, '1', 0.8685, 0.8721, _0),
    },
    'added': {
        'batched': measured(1.799e-05, 's', 1.778e-05, 1.82e-05, _1),
        'linear': measured(3.296e-05, 's', 2.716e-05, 3.999e-05, _1),
        'llmcompass-gelu': measured(4.418e-05, 's', 4.246e-05, 4.596e-05, _2),
        'llmcompass-layernorm': measured(4.162e-05, 's', 3.725e-05, 4.65e-05, _2),
        'llmcompass-matmul': measured(2.669e-05, 's', 2.619e-05, 2.72e-05, _2),
        'llmcompass-softmax': measured(1.381e-05, 's', 1.311e-05, 1.454e-05, _2),
        'neusight-a100-pcie-80gb': measured(1.718e-05, 's', 1.623e-05, 1.817e-05, _0),
        'neusight-a100-pcie-80gb-norm': measured(2.835e-05, 's', 2.524e-05, 3.184e-05, _0),
        'neusight-l4': measured(8.238e-06, 's', 5.377e-06, 1.262e-05, _0),
        'neusight-l4-norm': measured(1.925e-05, 's', 7.08e-06, 5.232e-05, _0),
    },
    'h100': {
        'attention.decode.error': measured(1.0, '1', 0.8424, 1.199, _3),
        'attention.decode.merge': measured(1.261e-05, 's', 1.165e-05, 1.366e-05, _4),
        'attention.decode.overlap': measured(1.645, '1', 1.59, 1.701, _4),
        'attention.decode.read_efficiency': measured(0.9068, '1', 0.8952, 0.9185, _4),
        'attention.encoder.cta': measured(1.587e-06, 's', 1.496e-06, 1.684e-06, _5),
        'attention.encoder.error': measured(1.0, '1', 0.894, 1.125, _6),
        'attention.encoder.floor': measured(1.024e-05, 's', 1.009e-05, 1.04e-05, _5),
        'attention.encoder.padded_head': measured(0.9356, '1', 0.9291, 0.942, _5),
        'attention.encoder.rate': measured(0.6662, '1', 0.6622, 0.6703, _5),
        'attention.encoder.relayout_bandwidth': measured(2945000000000.0, 'B/s', 2851000000000.0, 3042000000000.0, _5),
        'attention.encoder.softmax': measured(3.212e-07, 's', 3.137e-07, 3.289e-07, _5),
        'attention.encoder.tail': measured(0.2283, '1', 0.186, 0.2802, _5),
        'attention.mmha.cta': measured(9.084e-09, 's', 8.944e-09, 9.226e-09, _4),
        'attention.mmha.floor': measured(7.544e-06, 's', 7.411e-06, 7.68e-06, _4),
        'attention.mmha.key': measured(1.012e-08, 's', 8.975e-09, 1.14e-08, _4),
        'attention.mmha.loop': measured(3.121e-09, 's', 2.901e-09, 3.359e-09, _4),
        'attention.mmha.rate': measured(3597000000000.0, '1/s', 3474000000000.0, 3724000000000.0, _4),
        'attention.mmha.second': measured(5.73e-06, 's', 5.387e-06, 6.095e-06, _4),
        'attention.prefill.cta': measured(2.695e-06, 's', 2.659e-06, 2.731e-06, _7),
        'attention.prefill.error': measured(1.0, '1', 0.8806, 1.152, _8),
        'attention.prefill.floor': measured(1.128e-05, 's', 1.112e-05, 1.144e-05, _7),
        'attention.prefill.rate': measured(1.327, '1', 1.306, 1.348, _7),
        'attention.prefill.rate8': measured(0.8296, '1', 0.8121, 0.8474, _7),
        'attention.prefill.relayout_bandwidth': measured(4778000000000.0, 'B/s', 4552000000000.0, 5016000000000.0, _7),
        'attention.prefill.softmax': measured(1.297e-07, 's', 1.236e-07, 1.362e-07, _7),
        'attention.prefill.softmax8': measured(1.361, '1', 1.294, 1.432, _7),
        'attention.prefill.tail': measured(1.122, '1', 1.083, 1.161, _7),
        'attention.prefill.wide_saving': measured(3.823e-06, 's', 3.421e-06, 4.271e-06, _7),
        'attention.prefill.widen8': measured(2.472, '1', 2.325, 2.628, _7),
        'attention.prefill.window': measured(7.774e-07, 's', 7.266e-07, 8.318e-07, _7),
        'attention.xqa.cta': measured(2.809e-08, 's', 2.72e-08, 2.901e-08, _4),
        'attention.xqa.cta8': measured(5.871e-09, 's', 4.646e-09, 7.42e-09, _4),
        'attention.xqa.floor': measured(9.452e-06, 's', 9.277e-06, 9.629e-06, _4),
        'attention.xqa.floor8': measured(8.37e-06, 's', 8.196e-06, 8.548e-06, _4),
        'attention.xqa.key': measured(1.097e-09, 's', 9.251e-10, 1.3e-09, _4),
        'attention.xqa.rate': measured(32680000000000.0, '1/s', 30970000000000.0, 34490000000000.0, _4),
        'attention.xqa8.cta': measured(1.017e-08, 's', 9.749e-09, 1.06e-08, _4),
        'attention.xqa8.floor': measured(5.387e-06, 's', 5.288e-06, 5.488e-06, _4),
        'attention.xqa8.wide': measured(1.184e-06, 's', 1.018e-06, 1.378e-06, _4),
        'ffma.efficiency': measured(0.978, '1', 0.9748, 0.9813, _1),
        'ffma.epilogue_bandwidth': measured(23890000000.0, 'B/s', 23460000000.0, 24330000000.0, _1),
        'ffma.error': measured(1.0, '1', 0.9233, 1.117, _9),
        'ffma.operand': measured(19.51, '1', 19.19, 19.83, _1),
        'gemm.efficiency': measured(0.8515, '1', 0.8466, 0.8565, _10),
        'gemm.epilogue_bandwidth': measured(34530000000.0, 'B/s', 33230000000.0, 35890000000.0, _10),
        'gemm.error': measured(1.0, '1', 0.8967, 1.132, _11),
        'gemm.floor': measured(1.493e-06, 's', 1.472e-06, 1.514e-06, _10),
        'gemm.overlap': measured(4.014, '1', 3.823, 4.213, _10),
        'gemm.prologue': measured(6.6e-08, 's', 4.867e-08, 8.95e-08, _10),
        'gemm.ramp': measured(5.5e-08, 's', 2.023e-08, 1.495e-07, _10),
        'gemm.read_efficiency': measured(0.9198, '1', 0.9116, 0.9281, _10),
        'gemm.sm_bandwidth': measured(119700000000.0, 'B/s', 116800000000.0, 122600000000.0, _10),
        'gemm.sm_dram_bandwidth': measured(34090000000.0, 'B/s', 32790000000.0, 35440000000.0, _10),
        'gemm.split': measured(2.448e-06, 's', 2.342e-06, 2.559e-06, _10),
        'gemm.step': measured(9.032e-08, 's', 8.736e-08, 9.338e-08, _10),
        'gemm.write_efficiency': measured(0.8313, '1', 0.8072, 0.8562, _10),
        'gemm8.efficiency': measured(0.8231, '1', 0.8125, 0.8337, _12),
        'gemm8.efficiency_dram': measured(0.837, '1', 0.8224, 0.8518, _12),
        'gemm8.error': measured(1.0, '1', 0.8788, 1.18, _13),
        'gemm8.floor': measured(8.888e-07, 's', 8.299e-07, 9.518e-07, _12),
        'gemm8.overlap': measured(1.887, '1', 1.831, 1.944, _12),
        'gemm8.prologue': measured(1.251e-06, 's', 1.218e-06, 1.285e-06, _12),
        'gemm8.ramp': measured(7.225e-07, 's', 6.136e-07, 8.507e-07, _12),
        'gemm8.step': measured(1.759e-07, 's', 1.732e-07, 1.786e-07, _12),
        'l2.bandwidth': measured(5166000000000.0, 'B/s', 4829000000000.0, 5527000000000.0, _10),
        'matrix.fp8.energy': measured(2.636e-13, 'J/FLOP', 2.574e-13, 2.699e-13, _12),
        'power.error': measured(1.0, '1', 0.9, 1.12, _14),
        'vector.error': measured(1.0, '1', 0.9741, 1.069, _15),
        'vector.norm': measured(1.04, '1', 1.037, 1.044, _0),
        'vector.norm_start': measured(4.1e-07, 's', 1.782e-07, 9.434e-07, _0),
        'vector.norm_step': measured(2.434e-06, 's', 2.284e-06, 2.594e-06, _0),
        'vector.quantise': measured(0.5166, '1', 0.5038, 0.5297, _12),
        'vector.quantise_overlap': measured(1.282, '1', 1.185, 1.386, _12),
        'vector.quantise_row': measured(6.895e-09, 's', 6.766e-09, 7.026e-09, _12),
        'vector.resident': measured(0.5383, '1', 0.52, 0.5572, _0),
        'vector.row_overlap': measured(2.226, '1', 2.167, 2.287, _0),
        'vector.softmax': measured(0.9555, '1', 0.9468, 0.9642, _0),
        'vector.softmax_long': measured(1.027, '1', 1.021, 1.033, _0),
        'vector.softmax_start': measured(1.226e-06, 's', 1.084e-06, 1.387e-06, _0),
        'vector.softmax_step': measured(2.208e-06, 's', 2.087e-06, 2.337e-06, _0),
        'vector.softmax_tail': measured(1.597e-06, 's', 1.537e-06, 1.659e-06, _0),
    },
    'h200': {
        'gemm.efficiency': measured(0.7964, '1', 0.793, 0.7999, _16),
        'gemm.error': measured(1.0, '1', 0.898, 1.099, _17),
        'gemm.floor': measured(1.279e-06, 's', 1.261e-06, 1.297e-06, _16),
        'gemm.read_efficiency': measured(0.8948, '1', 0.8856, 0.9041, _16),
        'gemm.sm_dram_bandwidth': measured(50270000000.0, 'B/s', 47600000000.0, 53090000000.0, _16),
        'hbm.read_energy': measured(2.783e-11, 'J/B', 2.256e-11, 3.433e-11, _16),
        'matrix.bf16.energy': measured(5.084e-13, 'J/FLOP', 5.033e-13, 5.136e-13, _16),
        'power.active': measured(354.5, 'W', 351.8, 357.2, _16),
        'power.error': measured(1.0, '1', 0.8285, 1.125, _17),
        'power.zero_arithmetic': measured(0.391, '1', 0.385, 0.3972, _16),
    },
    'l4': {
        'vector.stream': measured(0.7838, '1', 0.7832, 0.7845, _0),
    },
}
