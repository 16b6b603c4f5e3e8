"""Constants of machines as `python -m tools.fit --write` fitted and wrote them. Do not edit.

By machine, then by name; `added` is what ways of timing add to a kernel.
"""

from __future__ import annotations

from edpc.target import Quantity, measured

_0 = "fit of 15 constants to 562 rows of 27 layers, of fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager); layers of odd hash held out"  # noqa: E501
_1 = "fit of 5 constants to 757 rows of 573 layers, of fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch); layers of odd hash held out"  # noqa: E501
_2 = "fit of 4 constants to 23 rows of 19 layers, of fp16 matmuls, softmax, layer normalisation and GELU on A100 SXM (LLMCompass, PyTorch); layers of odd hash held out"  # noqa: E501
_3 = "5 % and 95 % quantiles of 682 kernels, measured over predicted, in 4-fold validation on 682 rows of 39 layers, of decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_4 = "fit of 18 constants to 682 rows of 39 layers, of decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_5 = "fit of 7 constants to 493 rows of 61 layers, of encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_6 = "5 % and 95 % quantiles of 493 kernels, measured over predicted, in 4-fold validation on 493 rows of 61 layers, of encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_7 = "fit of 11 constants to 612 rows of 46 layers, of causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_8 = "5 % and 95 % quantiles of 612 kernels, measured over predicted, in 4-fold validation on 612 rows of 46 layers, of causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20); layers of odd hash held out"  # noqa: E501
_9 = "5 % and 95 % quantiles of 757 kernels, measured over predicted, in 4-fold validation on 757 rows of 573 layers, of fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch); layers of odd hash held out"  # noqa: E501
_10 = "fit of 13 constants to 1,781 rows of 112 layers, of bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs); layers of odd hash held out"  # noqa: E501
_11 = "5 % and 95 % quantiles of 1,385 kernels, measured over predicted, in 4-fold validation on 1,781 rows of 112 layers, of bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs); layers of odd hash held out"  # noqa: E501
_12 = "5 % and 95 % quantiles of 396 kernels, measured over predicted, in 4-fold validation on 1,781 rows of 112 layers, of bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs); layers of odd hash held out"  # noqa: E501
_13 = "fit of 11 constants to 683 rows of 112 layers, of fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs); layers of odd hash held out"  # noqa: E501
_14 = "5 % and 95 % quantiles of 683 kernels, measured over predicted, in 4-fold validation on 683 rows of 112 layers, of fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs); layers of odd hash held out"  # noqa: E501
_15 = "5 % and 95 % quantiles of 108 kernels, measured over predicted, in 4-fold validation on 562 rows of 27 layers, of fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager); layers of odd hash held out"  # noqa: E501
_16 = "5 % and 95 % quantiles of 454 kernels, measured over predicted, in 4-fold validation on 562 rows of 27 layers, of fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager); layers of odd hash held out"  # noqa: E501
_17 = "fit of 7 constants to 356 rows of 64 layers, of bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
_18 = "5 % and 95 % quantiles of 1,064 kernels, measured over predicted, in 4-fold validation on 1,371 rows of 108 layers, of bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
_19 = "fit of 2 constants to 1,371 rows of 108 layers, of bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
_20 = "5 % and 95 % quantiles of 307 kernels, measured over predicted, in 4-fold validation on 1,371 rows of 108 layers, of bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
_21 = "5 % and 95 % quantiles of 274 kernels, measured over predicted, in 4-fold validation on 356 rows of 64 layers, of bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
_22 = "5 % and 95 % quantiles of 34 kernels, measured over predicted, in 4-fold validation on 356 rows of 64 layers, of bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22); layers of odd hash held out"  # noqa: E501
FITTED: dict[str, dict[str, Quantity]] = {
    "a100-pcie-80gb": {
        "vector.stream": measured(0.8704, "1", 0.8687, 0.8722, _0),
    },
    "added": {
        "batched": measured(1.094e-05, "s", 1.046e-05, 1.144e-05, _1),
        "linear": measured(2.277e-05, "s", 1.655e-05, 3.131e-05, _1),
        "llmcompass-gelu": measured(4.418e-05, "s", 4.246e-05, 4.596e-05, _2),
        "llmcompass-layernorm": measured(4.162e-05, "s", 3.801e-05, 4.558e-05, _2),
        "llmcompass-matmul": measured(2.577e-05, "s", 2.523e-05, 2.632e-05, _2),
        "llmcompass-softmax": measured(1.387e-05, "s", 1.312e-05, 1.466e-05, _2),
        "neusight-a100-pcie-80gb": measured(1.72e-05, "s", 1.625e-05, 1.821e-05, _0),
        "neusight-a100-pcie-80gb-norm": measured(2.892e-05, "s", 2.576e-05, 3.248e-05, _0),
        "neusight-l4": measured(8.133e-06, "s", 5.277e-06, 1.253e-05, _0),
        "neusight-l4-norm": measured(2.236e-05, "s", 8.225e-06, 6.078e-05, _0),
    },
    "h100": {
        "attention.decode.error": measured(1.0, "1", 0.8319, 1.207, _3),
        "attention.decode.merge": measured(1.261e-05, "s", 1.165e-05, 1.365e-05, _4),
        "attention.decode.overlap": measured(1.645, "1", 1.591, 1.701, _4),
        "attention.decode.read_efficiency": measured(0.9068, "1", 0.8952, 0.9186, _4),
        "attention.encoder.cta": measured(1.587e-06, "s", 1.496e-06, 1.684e-06, _5),
        "attention.encoder.error": measured(1.0, "1", 0.8966, 1.128, _6),
        "attention.encoder.floor": measured(1.024e-05, "s", 1.009e-05, 1.04e-05, _5),
        "attention.encoder.padded_head": measured(0.9325, "1", 0.9261, 0.939, _5),
        "attention.encoder.rate": measured(0.6616, "1", 0.6576, 0.6656, _5),
        "attention.encoder.relayout_bandwidth": measured(2945000000000.0, "B/s", 2851000000000.0, 3042000000000.0, _5),
        "attention.encoder.softmax": measured(3.153e-07, "s", 3.078e-07, 3.231e-07, _5),
        "attention.encoder.tail": measured(0.2283, "1", 0.186, 0.2802, _5),
        "attention.mmha.cta": measured(9.084e-09, "s", 8.944e-09, 9.226e-09, _4),
        "attention.mmha.floor": measured(7.544e-06, "s", 7.411e-06, 7.68e-06, _4),
        "attention.mmha.key": measured(1.012e-08, "s", 8.979e-09, 1.141e-08, _4),
        "attention.mmha.loop": measured(3.121e-09, "s", 2.9e-09, 3.358e-09, _4),
        "attention.mmha.rate": measured(3597000000000.0, "1/s", 3474000000000.0, 3724000000000.0, _4),
        "attention.mmha.second": measured(5.73e-06, "s", 5.387e-06, 6.094e-06, _4),
        "attention.prefill.cta": measured(2.695e-06, "s", 2.659e-06, 2.731e-06, _7),
        "attention.prefill.error": measured(1.0, "1", 0.8801, 1.174, _8),
        "attention.prefill.floor": measured(1.128e-05, "s", 1.112e-05, 1.144e-05, _7),
        "attention.prefill.rate": measured(1.327, "1", 1.306, 1.348, _7),
        "attention.prefill.rate8": measured(0.8296, "1", 0.8121, 0.8474, _7),
        "attention.prefill.relayout_bandwidth": measured(4778000000000.0, "B/s", 4552000000000.0, 5016000000000.0, _7),
        "attention.prefill.softmax": measured(1.297e-07, "s", 1.236e-07, 1.362e-07, _7),
        "attention.prefill.softmax8": measured(1.361, "1", 1.294, 1.432, _7),
        "attention.prefill.tail": measured(1.122, "1", 1.083, 1.161, _7),
        "attention.prefill.wide_saving": measured(3.823e-06, "s", 3.421e-06, 4.271e-06, _7),
        "attention.prefill.widen8": measured(2.472, "1", 2.325, 2.628, _7),
        "attention.prefill.window": measured(7.774e-07, "s", 7.266e-07, 8.318e-07, _7),
        "attention.xqa.cta": measured(2.809e-08, "s", 2.72e-08, 2.901e-08, _4),
        "attention.xqa.cta8": measured(5.871e-09, "s", 4.646e-09, 7.419e-09, _4),
        "attention.xqa.floor": measured(9.452e-06, "s", 9.278e-06, 9.63e-06, _4),
        "attention.xqa.floor8": measured(8.37e-06, "s", 8.196e-06, 8.548e-06, _4),
        "attention.xqa.key": measured(1.097e-09, "s", 9.253e-10, 1.301e-09, _4),
        "attention.xqa.rate": measured(32680000000000.0, "1/s", 30970000000000.0, 34480000000000.0, _4),
        "attention.xqa8.cta": measured(1.017e-08, "s", 9.755e-09, 1.06e-08, _4),
        "attention.xqa8.floor": measured(5.387e-06, "s", 5.288e-06, 5.488e-06, _4),
        "attention.xqa8.wide": measured(1.184e-06, "s", 1.018e-06, 1.377e-06, _4),
        "ffma.efficiency": measured(0.9674, "1", 0.9639, 0.9709, _1),
        "ffma.epilogue_bandwidth": measured(25310000000.0, "B/s", 24860000000.0, 25760000000.0, _1),
        "ffma.error": measured(1.0, "1", 0.9047, 1.14, _9),
        "ffma.operand": measured(18.05, "1", 17.73, 18.37, _1),
        "gemm.efficiency": measured(0.847, "1", 0.8433, 0.8508, _10),
        "gemm.epilogue_bandwidth": measured(38420000000.0, "B/s", 36700000000.0, 40210000000.0, _10),
        "gemm.error": measured(1.0, "1", 0.9047, 1.13, _11),
        "gemm.floor": measured(1.418e-06, "s", 1.399e-06, 1.437e-06, _10),
        "gemm.long.error": measured(1.0, "1", 0.9104, 1.14, _12),
        "gemm.overlap": measured(4.01, "1", 3.824, 4.206, _10),
        "gemm.prologue": measured(1.887e-07, "s", 1.702e-07, 2.094e-07, _10),
        "gemm.read_efficiency": measured(0.9289, "1", 0.9198, 0.9381, _10),
        "gemm.sm_bandwidth": measured(119600000000.0, "B/s", 116700000000.0, 122500000000.0, _10),
        "gemm.sm_dram_bandwidth": measured(32020000000.0, "B/s", 30960000000.0, 33110000000.0, _10),
        "gemm.split": measured(2.48e-06, "s", 2.384e-06, 2.58e-06, _10),
        "gemm.step": measured(8.846e-08, "s", 8.583e-08, 9.117e-08, _10),
        "gemm.write_efficiency": measured(0.8086, "1", 0.7871, 0.8307, _10),
        "gemm8.efficiency": measured(0.8144, "1", 0.8041, 0.8248, _13),
        "gemm8.efficiency_dram": measured(0.8321, "1", 0.8174, 0.847, _13),
        "gemm8.error": measured(1.0, "1", 0.8445, 1.237, _14),
        "gemm8.floor": measured(8.733e-07, "s", 8.146e-07, 9.362e-07, _13),
        "gemm8.overlap": measured(1.953, "1", 1.892, 2.016, _13),
        "gemm8.prologue": measured(1.241e-06, "s", 1.207e-06, 1.276e-06, _13),
        "gemm8.ramp": measured(8.019e-07, "s", 6.934e-07, 9.274e-07, _13),
        "gemm8.step": measured(1.769e-07, "s", 1.744e-07, 1.795e-07, _13),
        "l2.bandwidth": measured(5047000000000.0, "B/s", 4705000000000.0, 5413000000000.0, _10),
        "matrix.bf16.energy": measured(3.228e-13, "J/FLOP", 1.188e-13, 8.775e-13, _10),
        "matrix.fp8.energy": measured(3.857e-13, "J/FLOP", 3.599e-13, 4.133e-13, _13),
        "rowwise.error": measured(1.0, "1", 0.9301, 1.083, _15),
        "vector.error": measured(1.0, "1", 0.9793, 1.023, _16),
        "vector.norm": measured(1.043, "1", 1.039, 1.047, _0),
        "vector.norm_step": measured(2.622e-06, "s", 2.47e-06, 2.783e-06, _0),
        "vector.quantise": measured(0.5146, "1", 0.5024, 0.5272, _13),
        "vector.quantise_overlap": measured(1.33, "1", 1.222, 1.447, _13),
        "vector.quantise_row": measured(6.906e-09, "s", 6.778e-09, 7.036e-09, _13),
        "vector.resident": measured(0.537, "1", 0.5189, 0.5556, _0),
        "vector.row_overlap": measured(2.271, "1", 2.211, 2.334, _0),
        "vector.softmax": measured(0.9555, "1", 0.9469, 0.9642, _0),
        "vector.softmax_long": measured(1.026, "1", 1.02, 1.032, _0),
        "vector.softmax_start": measured(1.261e-06, "s", 1.119e-06, 1.422e-06, _0),
        "vector.softmax_step": measured(2.231e-06, "s", 2.111e-06, 2.357e-06, _0),
        "vector.softmax_tail": measured(1.605e-06, "s", 1.545e-06, 1.667e-06, _0),
    },
    "h200": {
        "gemm.efficiency": measured(0.8189, "1", 0.8113, 0.8266, _17),
        "gemm.error": measured(1.0, "1", 0.8922, 1.097, _18),
        "gemm.floor": measured(1.246e-06, "s", 1.225e-06, 1.268e-06, _19),
        "gemm.long.error": measured(1.0, "1", 0.9266, 1.051, _20),
        "gemm.read_efficiency": measured(0.9856, "1", 0.9595, 1.012, _17),
        "gemm.sm_dram_bandwidth": measured(38660000000.0, "B/s", 37750000000.0, 39590000000.0, _19),
        "hbm.read_energy": measured(4.205e-11, "J/B", 3.576e-11, 4.944e-11, _17),
        "matrix.bf16.energy": measured(7.385e-13, "J/FLOP", 7.227e-13, 7.546e-13, _17),
        "power.active": measured(204.5, "W", 198.2, 211.0, _17),
        "power.capped.error": measured(1.0, "1", 0.8705, 1.003, _21),
        "power.error": measured(1.0, "1", 0.9575, 1.169, _22),
        "power.voltage": measured(1.998, "1", 1.907, 2.092, _17),
        "power.zero_arithmetic": measured(0.6518, "1", 0.5378, 0.7899, _17),
    },
    "l4": {
        "vector.stream": measured(0.7837, "1", 0.7831, 0.7844, _0),
    },
}
