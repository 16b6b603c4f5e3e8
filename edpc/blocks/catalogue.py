"""What building blocks there are and what may be said of them; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | str

_MOST_BATCH = 4096
_MOST_CHANNELS = 16_384
_MOST_WIDTH = 65_536
_MOST_TOKENS = 131_072
_MOST_WORDS = 1_048_576


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may be set of a block.

    Attributes:
        name: as in `block:NAME?name=value`.
        default: the value where nothing is said; its type is the parameter's.
        meaning: what it is, with its unit.
        least, most: bounds of a number, so that no tensor has more elements than can be counted.
        choices: what a text may be.
    """

    name: str
    default: Value
    meaning: str
    least: int = 1
    most: int = _MOST_CHANNELS
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A building block: a plain torch module with example inputs, made on the meta device.

    Attributes:
        name: as in `block:NAME`.
        summary: one line.
        parameters: in the order they are listed.
        module: of `edpc.blocks`, holds the builder.
        builder: the function that takes the parameters by name and answers the module and its example inputs.
        multiples: (parameter, other, factor): the first must be a multiple of the other times the factor.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    module: str
    builder: str
    multiples: tuple[tuple[str, str, int], ...] = ()


BATCH = Parameter("batch", 1, "images or sequences in a batch", most=_MOST_BATCH)


def _channels(default: int, name: str = "channels", meaning: str = "channels of the image") -> Parameter:
    return Parameter(name, default, meaning)


def _size(default: int, least: int = 1) -> Parameter:
    return Parameter("size", default, "height and width of the image, pixels", least=least, most=4096)


def _kernel(default: int = 3) -> Parameter:
    return Parameter("kernel", default, "height and width of the window, pixels; padded by half of it", most=255)


def _stride(default: int = 1) -> Parameter:
    return Parameter("stride", default, "step of the window, pixels", most=255)


def _classes(default: int = 1000, why: str = "") -> Parameter:
    return Parameter("classes", default, f"classes of the classifier{why}", most=_MOST_WORDS)


def _tokens(default: int, most: int = _MOST_TOKENS, meaning: str = "tokens in a sequence") -> Parameter:
    return Parameter("tokens", default, meaning, most=most)


def _width(default: int) -> Parameter:
    return Parameter("width", default, "features of a token", most=_MOST_WIDTH)


def _heads(default: int) -> Parameter:
    return Parameter("heads", default, "attention heads; the width is a multiple of them", most=256)


def _hidden(default: int) -> Parameter:
    return Parameter("hidden", default, "features between the two linear layers", most=4 * _MOST_WIDTH)


def _layers(default: int) -> Parameter:
    return Parameter("layers", default, "transformer layers", most=256)


def _vocabulary(default: int) -> Parameter:
    return Parameter("vocabulary", default, "words of the vocabulary", most=_MOST_WORDS)


WIDTH_BY_HEADS = (("width", "heads", 1),)

_BLOCKS = (
    Block(
        "mlp",
        "two linear layers with a ReLU between",
        (
            BATCH,
            Parameter("features", 128, "features of the input", most=_MOST_WIDTH),
            _hidden(256),
            Parameter("outputs", 64, "features of the output", most=_MOST_WIDTH),
        ),
        "dense",
        "mlp",
    ),
    Block(
        "conv2d",
        "a convolution, batch norm and ReLU",
        (
            BATCH,
            _channels(3),
            Parameter("filters", 16, "filters: channels of the result"),
            _kernel(),
            _stride(),
            _size(32),
        ),
        "convolutional",
        "conv2d",
    ),
    Block(
        "resnet-block",
        "two convolutions with batch norms, a residual addition and ReLUs",
        (BATCH, _channels(64), _size(32)),
        "convolutional",
        "resnet_block",
    ),
    Block(
        "attention-head",
        "self-attention written out: q, k, v, QK^T, scale, softmax, AV and out",
        (BATCH, _tokens(16), _width(128), _heads(4)),
        "dense",
        "attention_head",
        WIDTH_BY_HEADS,
    ),
    Block("batchnorm", "batch norm at inference", (BATCH, _channels(64), _size(56)), "convolutional", "batchnorm"),
    Block(
        "pooling",
        "pooling over a window",
        (
            BATCH,
            _channels(64),
            _size(112),
            _kernel(),
            _stride(2),
            Parameter("mode", "max", "what is kept of a window", choices=("max", "average")),
        ),
        "convolutional",
        "pooling",
    ),
    Block(
        "depthwise-separable",
        "a depthwise and a pointwise convolution, each with batch norm and ReLU",
        (
            BATCH,
            _channels(32),
            Parameter("filters", 64, "filters of the pointwise convolution"),
            _kernel(),
            _stride(),
            _size(112),
        ),
        "convolutional",
        "depthwise_separable",
    ),
    Block("layernorm", "layer norm over the features", (BATCH, _tokens(128), _width(768)), "dense", "layernorm"),
    Block(
        "transformer-encoder",
        "one pre-norm encoder layer: attention and feed-forward, each with its residual",
        (BATCH, _tokens(128), _width(512), _heads(8), _hidden(2048)),
        "transformers",
        "transformer_encoder",
        WIDTH_BY_HEADS,
    ),
    Block("resnet18", "ResNet-18 with its batch norms", (BATCH, _classes(), _size(224, 32)), "networks", "resnet18"),
    Block(
        "resnet50",
        "ResNet-50 (stride in the 3 x 3 convolutions) with its batch norms",
        (BATCH, _classes(), _size(224, 32)),
        "networks",
        "resnet50",
    ),
    Block(
        "mobilenet-v2",
        "MobileNetV2 of width 1.0 with its batch norms",
        (BATCH, _classes(1001, "; 1,001 as first published, with a background class"), _size(224, 32)),
        "networks",
        "mobilenet_v2",
    ),
    Block(
        "vit-b-16",
        "Vision Transformer, base, patches of 16 x 16 pixels",
        (BATCH, _classes(), _size(224, 16), _layers(12)),
        "transformers",
        "vit_b_16",
    ),
    Block(
        "bert-base",
        "BERT base with its pooler: 12 layers of 768 features",
        (BATCH, _tokens(128, 512), _layers(12), _vocabulary(30_522)),
        "transformers",
        "bert_base",
    ),
    Block(
        "gpt2",
        "GPT-2 small with its language-model head over all tokens, without a cache",
        (BATCH, _tokens(128, 1024), _layers(12), _vocabulary(50_257)),
        "transformers",
        "gpt2",
    ),
    Block(
        "llama-decoder",
        "Llama-style decoder (RMS norm, rotary embedding, grouped queries, SwiGLU) with its key/value cache",
        (
            BATCH,
            Parameter("phase", "prefill", "prefill reads a prompt; decode adds one token", choices=("prefill", "decode")),
            _tokens(128, meaning="tokens of the prompt; prefill only"),
            Parameter("past", 128, "tokens in the cache before the step; decode only", most=_MOST_TOKENS),
            _layers(16),
            _width(2048),
            _heads(32),
            Parameter("kv_heads", 8, "key and value heads; the heads are a multiple of them", most=256),
            _hidden(8192),
            _vocabulary(128_256),
        ),
        "decoder",
        "llama_decoder",
        (("width", "heads", 2), ("heads", "kv_heads", 1)),  # rotary positions turn pairs of features
    ),
)

BLOCKS: dict[str, Block] = {block.name: block for block in _BLOCKS}
