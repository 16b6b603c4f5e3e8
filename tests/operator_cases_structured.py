"""Cases of contractions, recurrent layers, data movement and everything else; see `operator_cases`."""

from __future__ import annotations

from operator_cases import ELEMENTWISE, GATHER, NORMALIZATIONS, POOLING, QUANTIZATION, REDUCTIONS, SEQUENCE, Case, X, f, i, t

CONTRACTIONS = [
    Case("matmul", [f(2, 3), f(3, 5)], [f(2, 5)], macs=30),
    Case("matmul", [f(2, 3), f(3, 5), f(5)], [f(2, 5)], macs=30, vector=10),  # addend
    Case("matmul", [f(3, 2), f(5, 3)], [f(2, 5)], {"transpose_a": True, "transpose_b": True}, macs=30),
    # alpha 10, addend 10, beta times the addend's 5 elements.
    Case("matmul", [f(2, 3), f(3, 5), f(5)], [f(2, 5)], {"alpha": 0.5, "beta": 2.0}, macs=30, vector=25),
    Case("matmul", [f(4, 2, 3), f(3, 5)], [f(4, 2, 5)], macs=120),
    Case("matmul", [f(4, 1, 2, 3), f(6, 3, 5)], [f(4, 6, 2, 5)], macs=720),  # 24 products of 30
    Case("matmul", [f(3), f(3, 5)], [f(5)], macs=15),
    Case("matmul", [f(2, 3), f(3)], [f(2)], macs=6),
    Case("matmul", [f(3), f(3)], [f()], macs=3),
    # int8 by int8 to int8: 5 operations per result; to fp32: 1; to int32: none. Scales are no addend.
    Case("matmul", [t("uint8", 2, 3), t("int8", 3, 5)], [t("int8", 2, 5)], macs=30, vector=50),
    Case("matmul", [t("int8", 2, 3), t("int8", 3, 5), f(2, 1)], [f(2, 5)], {"addend": False}, macs=30, vector=10),
    Case("matmul", [t("uint8", 2, 3), t("int8", 3, 5)], [t("int32", 2, 5)], macs=30),
    # int4 weight under fp16: 2 operations for each of 15 weights, 8 bytes.
    Case("matmul", [t("fp16", 2, 3), t("int4", 3, 5)], [t("fp16", 2, 5)], macs=30, vector=30, reads=(12, 8)),
    Case("einsum", [f(2, 3, 4), f(2, 5, 4)], [f(2, 3, 5)], {"equation": "bik,bjk->bij"}, macs=120),
    Case("einsum", [f(2, 3, 4), f(4, 5)], [f(2, 3, 5)], {"equation": "...k,kj"}, macs=120),
    Case("einsum", [f(3, 4), f(3, 4)], [f(3, 4)], {"equation": "ij,ij->ij"}, vector=12),  # products, no sum
    Case("einsum", [f(3, 4)], [f(4)], {"equation": "ij->j"}, vector=8),  # 12 - 4 additions
    Case("einsum", [f(3, 3)], [f()], {"equation": "ii"}, vector=2),  # the trace of three
    Case("einsum", [f(3, 4)], [f(4, 3)], {"equation": "ij->ji"}),
    # l of the first operand alone is summed beforehand (6 * 4 - 6 additions), then 2 * 3 by 3 * 5.
    Case("einsum", [f(2, 3, 4), f(3, 5)], [f(2, 5)], {"equation": "ikl,kj->ij"}, macs=30, vector=18),
    # From the left: [2, 3] by [3, 4], then [2, 4] by [4, 5]: 24 + 40.
    Case("einsum", [f(2, 3), f(3, 4), f(4, 5)], [f(2, 5)], {"equation": "ab,bc,cd->ad"}, macs=64),
    # 3 tokens by 2 experts of 4: 6 rows on 4 experts, all read; 6 * 5 * 7 products.
    Case("expert_matmul", [f(3, 5), f(4, 5, 7)], [f(3, 2, 7)], {"top_k": 2}, macs=210),
    # 1 token by 2 experts of 8: only 2 * 5 * 7 weights are read.
    Case("expert_matmul", [f(1, 5), f(8, 7, 5)], [f(1, 2, 7)], {"top_k": 2, "transpose_b": True}, macs=70, reads=(20, 280)),
    # 2 images of 4 x 4 from 3 channels by 5 filters of 3 x 3: 2 * 16 * 5 * 27; bias 160.
    Case("conv", [f(2, 3, 4, 4), f(5, 3, 3, 3), f(5)], [f(2, 5, 4, 4)], {"pads": (1, 1, 1, 1)}, macs=4320, vector=160),
    Case("conv", [f(2, 3, 4, 4), f(5, 3, 3, 3), f(2, 5, 4, 4)], [f(2, 5, 4, 4)], {"bias": False}, macs=4320),
    Case("conv", [f(1, 6, 8), f(6, 1, 3)], [f(1, 6, 6)], {"groups": 6}, macs=108),  # depthwise: 36 results of 3
    Case("conv", [f(1, 4, 2, 2, 2), f(6, 2, 1, 2, 2)], [f(1, 6, 2, 1, 1)], {"groups": 2}, macs=96),  # 12 * 2 * 4
    # Every pixel of 3 x 3 times 2 channels into 4 filters of 2 x 2: 9 * 2 * 4 * 4.
    Case("conv_transpose", [f(1, 2, 3, 3), f(2, 4, 2, 2), f(4)], [f(1, 4, 4, 4)], macs=288, vector=64),
    # 9 pixels, 2 filters, 4 taps of 3 channels: 216; samples 9 * 12 of 9 + 1 for the mask, 3 * 72 offsets, bias 18.
    Case(
        "deform_conv",
        [f(1, 3, 4, 4), f(2, 3, 2, 2), f(1, 8, 3, 3), f(2), f(1, 4, 3, 3)],
        [f(1, 2, 3, 3)],
        macs=216,
        vector=1314,
    ),
]

RECURRENT = [
    # T 3, B 2, I 4, H 5. Inputs: 3*2 by 4*5 by 4 = 480; states: 3 steps of 2 by 20 by 5 = 600. 30 states:
    # 4 joins, 4 biases, 3 sigmoids of 3, f*c + i*g (3), o * tanh (1): 21; 3 exponentials and 2 tanh.
    Case("lstm", [f(3, 2, 4), f(1, 20, 4), f(1, 20, 5), f(1, 40)], [f(3, 1, 2, 5)], macs=1080, vector=630, special=150),
    # Batch first, both directions, no bias: 2 * (3*2*20*4 + 3*2*20*5); 60 states of 17.
    Case(
        "lstm",
        [f(2, 3, 4), f(2, 20, 4), f(2, 20, 5)],
        [f(2, 3, 2, 5)],
        {"layout": 1, "hidden_size": 5, "directions": 2},
        macs=2160,
        vector=1020,
        special=300,
    ),
    # Weights stored as [D, I, 4 H], scales that are no bias.
    Case(
        "lstm",
        [f(3, 2, 4), t("int8", 1, 4, 20), t("int8", 1, 5, 20), f(1, 20)],
        [f(3, 1, 2, 5)],
        {"hidden_size": 5},
        macs=1080,
        vector=510,
        special=150,
    ),
    # Gates 3: 3*2*15*4 + 3*2*15*5; 3 joins, 3 biases, 2 sigmoids of 3, r*h, 1-z, two products, a sum (5): 17; 2 exp + tanh.
    Case("gru", [f(3, 2, 4), f(1, 15, 4), f(1, 15, 5), f(1, 30)], [f(3, 1, 2, 5)], macs=810, vector=510, special=90),
    Case("rnn", [f(3, 2, 4), f(1, 5, 4), f(1, 5, 5), f(1, 10)], [f(3, 1, 2, 5)], macs=270, vector=60, special=30),
    # B 1, T 3, one head of dk 4, dv 5, two query heads: update 3*20, answer 3*2*20; scale of 30 results.
    Case(
        "linear_attention",
        [f(1, 3, 8), f(1, 3, 4), f(1, 3, 5)],
        [f(1, 3, 10)],
        {"q_heads": 2, "kv_heads": 1, "update_rule": "linear"},
        macs=180,
        vector=30,
    ),
    # Gated delta: correction 3*20 more; 2 * 3*5 for v, 3*20 for the decay of S, an exponential per decay.
    Case(
        "linear_attention",
        [f(1, 3, 8), f(1, 3, 4), f(1, 3, 5), f(1, 1, 4, 5), f(1, 3, 1), f(1, 3, 1)],
        [f(1, 3, 10), f(1, 1, 4, 5)],
        {"q_heads": 2, "kv_heads": 1},
        macs=240,
        vector=120,
        special=3,
    ),
]

SQUARE = f(3, 3)
MOVEMENT = [
    *(Case(k, [X], [X]) for k in ("transpose", "contiguous", "trilu", "depth_to_space", "space_to_depth")),
    Case("reverse_sequence", [X, i(3)], [X]),
    Case("concat", [X, X], [f(4, 3)], reads=(24, 24), writes=(48,)),
    Case("split", [f(4, 3)], [X, f(2, 3)], reads=(48,), writes=(24, 24)),
    Case("slice", [f(100, 3), i(1), i(1)], [X], reads=(24, 8, 8)),
    Case("pad", [X, i(4)], [f(4, 5)], reads=(24, 32), writes=(80,)),
    Case("pad", [f(4, 5), i(4)], [X], reads=(24, 32)),  # negative pads crop
    Case("center_crop_pad", [f(4, 5), i(2)], [X], reads=(24, 16)),
    Case("tile", [X, i(2)], [f(4, 3)], reads=(24, 16), writes=(48,)),
    Case("expand", [f(3), i(2)], [X], reads=(12, 16)),
    Case("compress", [f(4, 3), t("bool", 4)], [X], {"axis": 0}, reads=(24, 4)),
    Case("string_op", [t("string", 3)], [t("string", 3)], reads=(24,), writes=(24,)),
    Case("shape_of", [X], [i(2)], reads=(0,), writes=(16,)),
    Case("fill", [i(2)], [X], reads=(0,), writes=(24,)),
    Case("eye_like", [SQUARE], [SQUARE], reads=(0,), writes=(36,)),
    Case("one_hot", [i(2), i(), f(2)], [f(2, 5)], vector=10),
    Case("resize", [f(1, 1, 2, 2)], [f(1, 1, 4, 4)], {"mode": "nearest"}, reads=(16,)),
    Case("resize", [f(1, 1, 4, 4)], [f(1, 1, 2, 2)], {"mode": "nearest"}, reads=(16,)),  # touches 4 of 16 elements
    Case("resize", [f(1, 1, 2, 2)], [f(1, 1, 4, 4)], {"mode": "linear"}, vector=144),  # 9 per result
    Case("resize", [f(1, 1, 2, 2)], [f(1, 1, 4, 2)], {"mode": "linear"}, vector=24),  # one axis: 3 per result
    Case("resize", [f(1, 1, 2, 2)], [f(1, 1, 4, 4)], {"mode": "cubic"}, vector=560),  # 7 + 4 * 7 per result
    # Shrinking by 2 with a filter that is twice as wide: 4 taps an axis.
    Case("resize", [f(1, 1, 4, 4)], [f(1, 1, 2, 2)], {"mode": "linear", "antialias": True}, vector=140),
    # 4 points of 2 coordinates of 4 operations, 12 results of 9.
    Case("grid_sample", [f(1, 3, 5, 5), f(1, 2, 2, 2)], [f(1, 3, 2, 2)], {"mode": "linear"}, vector=140, reads=(192, 32)),
    Case("affine_grid", [f(1, 2, 3), i(4)], [f(1, 2, 2, 2)], vector=32),  # 8 coordinates, 2 products and 2 additions
    Case("col2im", [f(1, 8, 9), i(2), i(2)], [f(1, 2, 4, 4)], vector=72),
    Case("rotary_embedding", [f(1, 2, 3, 8), f(3, 4), f(3, 4)], [f(1, 2, 3, 8)], vector=144),  # 48 elements
    # Half of every head is rotated; of caches for 64 positions the 3 that are asked for are read, 16 bytes each.
    Case(
        "rotary_embedding",
        [f(1, 2, 3, 8), f(64, 4), f(64, 4), i(1, 3)],
        [f(1, 2, 3, 8)],
        {"rotary_dim": 4},
        vector=72,
        reads=(192, 48, 48, 24),
    ),
    Case("top_k", [f(2, 10), i(1)], [f(2, 4), i(2, 4)], vector=40),  # 20 elements, log2 4
    Case("top_k", [f(2, 10), i(1)], [f(2, 1), i(2, 1)], vector=20),
    Case("sort", [f(2, 8)], [f(2, 8), i(2, 8)], vector=48),  # 16 elements, log2 8
    Case("unique", [f(8)], [f(8)], vector=31),  # 8 * 3 + 7
    Case("nonzero", [X], [i(2, None)], vector=6, writes=(16,)),
    # 8 boxes, 2 classes: sort 24; 3 kept against 7 + 6 + 5 later ones, 13 operations each: 2 * (24 + 234).
    Case("nms", [f(1, 8, 4), f(1, 2, 8)], [i(None, 3)], {"max_output": 3}, vector=516, writes=(24,)),
    Case("range", [f(), f(), f()], [f(7)], vector=14),
    Case("random", [], [X], {"distribution": "uniform"}, special=6),
    Case("random", [X], [X], {"distribution": "normal"}, vector=12, special=24, reads=(0,)),
    Case("bernoulli", [X], [X], vector=6, special=6),
    # 2 rows of 8: 16 exponentials, 14 sums; 6 draws of 1 + log2 8.
    Case("multinomial", [f(2, 8)], [i(2, 3)], vector=38, special=22),
    Case("window_function", [i()], [f(8)], {"window": "hann"}, vector=24, special=8),
    Case("window_function", [i()], [f(8)], {"window": "blackman"}, vector=48, special=16),
    Case("bucketize", [X, f(7)], [i(2, 3)], vector=18),  # 8 intervals
    *(
        Case(k, [X, i(1)], [f(6)], reads=(0, 0), writes=(0,))
        for k in ("reshape", "identity", "view_expand", "view_transpose", "view_slice", "view_split", "bit_cast")
    ),
]

OTHER = [
    # 3 lines of 8 real points: 5 * 8 * 3 / 2 = 60.
    Case("dft", [f(3, 8, 1)], [f(3, 8, 2)], {"axis": 1}, vector=180),
    Case("dft", [f(3, 8, 1)], [f(3, 5, 2)], {"axis": 1, "onesided": True}, vector=180),
    Case("dft", [f(3, 8, 2)], [f(3, 8, 2)], {"inverse": True}, vector=408),  # 3 * 120 and 48 scales
    # 4 frames of 8 points: 8 products and 60 operations.
    Case("stft", [f(1, 20, 1), i(), f(8)], [f(1, 4, 5, 2)], {"onesided": True}, vector=272),
    Case("mel_weight_matrix", [i(), i()], [f(5, 3)], vector=110, special=10),  # 15 * 6, 5 edges of 4 and 2
    # n = 3: quotients 2 + 1, (4 + 1) * 2, diagonal 2: 15 a matrix.
    Case("det", [f(2, 3, 3)], [f(2)], vector=30),
    Case("inverse", [f(2, 3, 3)], [f(2, 3, 3)], vector=90),  # 3 pivots: 3 quotients, 2 rows of 3 by 2 operations
    Case("tfidf", [i(10)], [f(4)], {"max_gram_length": 2, "max_skip": 1}, vector=40),
    Case("image_decoder", [t("uint8", 100)], [t("uint8", 4, 4, 3)], reads=(100,), writes=(48,)),
    # 2 targets: 2 negations, 1 addition, 1 division; reads 2 elements.
    Case("nll_loss", [f(2, 5), i(2)], [f()], {"reduction": "mean"}, vector=4, reads=(8, 16)),
    # Weights: 2 products, and their sum 1.
    Case("nll_loss", [f(2, 5), i(2), f(5)], [f()], {"reduction": "mean"}, vector=7, reads=(8, 16, 20)),
    Case("nll_loss", [f(2, 5), i(2)], [f(2)], {"reduction": "none"}, vector=2, reads=(8, 16)),
    # log_softmax of 10: 40 and 10 + 2; loss 4.
    Case("softmax_cross_entropy_loss", [f(2, 5), i(2)], [f()], vector=44, special=12),
    Case("adagrad", [f(), i(), X, X, X], [X, X], vector=48, special=6),
    Case("adam", [f(), i(), X, X, X, X], [X, X, X], vector=78, special=6),
    Case("momentum", [f(), i(), X, X, X], [X, X], vector=42),
    Case("linear_model", [f(2, 3)], [i(2), f(2, 4)], macs=24, vector=8),
    # 2 samples by 5 vectors of 3, their votes for 4 scores: 30 + 40.
    Case("svm", [f(2, 3)], [i(2), f(2, 4)], {"support_vectors": 5}, macs=70, vector=20, special=10),
    Case("tree_ensemble", [f(2, 3)], [f(2, 1)], {"trees": 10, "depth": 4}, vector=100),
    Case("scaler", [X], [X], vector=12),
    Case("imputer", [X], [X], vector=12),
    Case("label_encoder", [i(6)], [f(6)], {"labels": 8}, vector=18),
    Case("sequence_op", [SEQUENCE, X], [SEQUENCE], reads=(0, 0), writes=(0,)),
    Case("sequence_copy", [SEQUENCE], [X], reads=(24,), writes=(24,)),
    Case("sequence_copy", [X, i(1)], [SEQUENCE], reads=(24, 8), writes=(24,)),
    Case("unknown", [X, i(2)], [f(5), X], reads=(24, 16), writes=(20, 24)),
]

CASES: list[Case] = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *NORMALIZATIONS,
    *POOLING,
    *QUANTIZATION,
    *GATHER,
    *CONTRACTIONS,
    *RECURRENT,
    *MOVEMENT,
    *OTHER,
]
