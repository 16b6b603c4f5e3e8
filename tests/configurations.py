"""Configurations of transformers architectures, tiny: what they are made of is that of the real ones, how much of it is not.

Each is (family, model_type, architecture, sizes). Sizes are the fields of the architecture's `config.json`.
"""

from __future__ import annotations

from typing import Any

_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 128}
_BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 128,
}
_LLAMA: dict[str, Any] = {**_BERT, "num_key_value_heads": 2, "head_dim": 8}
_SEQ2SEQ: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 128, "decoder_start_token_id": 0}
_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
_SPEECH: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
}
_MOE: dict[str, Any] = {
    **_LLAMA,
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
_MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 128}
_TOWERS = {
    "text_config": {**_BERT, "projection_dim": 16, "max_position_embeddings": 32},
    "vision_config": {**_VIT, "projection_dim": 16},
    "projection_dim": 16,
}

Configuration = tuple[str, str, str, dict[str, Any]]

CONFIGURATIONS: tuple[Configuration, ...] = (
    ("encoder", "bert", "BertForMaskedLM", _BERT),
    ("encoder", "roberta", "RobertaForSequenceClassification", {**_BERT, "pad_token_id": 1}),
    ("encoder", "distilbert", "DistilBertModel", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 128}),
    ("encoder", "electra", "ElectraForPreTraining", {**_BERT, "embedding_size": 16}),
    ("encoder", "albert", "AlbertModel", {**_BERT, "embedding_size": 16}),
    ("encoder", "mpnet", "MPNetModel", _BERT),
    (
        "encoder",
        "deberta-v2",
        "DebertaV2Model",
        {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16},
    ),
    ("encoder", "modernbert", "ModernBertModel", {**_BERT, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}),
    ("decoder", "gpt2", "GPT2LMHeadModel", _GPT),
    ("decoder", "gptj", "GPTJForCausalLM", {**_GPT, "rotary_dim": 4}),
    ("decoder", "gpt_neox", "GPTNeoXForCausalLM", _BERT),
    ("decoder", "opt", "OPTForCausalLM", {**_BERT, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    ("decoder", "bloom", "BloomForCausalLM", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 128}),
    ("decoder", "llama", "LlamaForCausalLM", _LLAMA),
    ("decoder", "mistral", "MistralForCausalLM", {**_LLAMA, "sliding_window": 16}),
    ("decoder", "qwen2", "Qwen2ForCausalLM", _LLAMA),
    ("decoder", "qwen3", "Qwen3ForCausalLM", _LLAMA),
    ("decoder", "gemma2", "Gemma2ForCausalLM", {**_LLAMA, "sliding_window": 16}),
    ("decoder", "gemma3_text", "Gemma3ForCausalLM", {**_LLAMA, "sliding_window": 16}),
    ("decoder", "phi3", "Phi3ForCausalLM", {**_LLAMA, "pad_token_id": 0}),
    ("decoder", "falcon", "FalconForCausalLM", {**_BERT, "multi_query": True}),
    ("decoder", "olmo2", "Olmo2ForCausalLM", _LLAMA),
    ("encoder-decoder", "t5", "T5ForConditionalGeneration", _T5),
    ("encoder-decoder", "bart", "BartForConditionalGeneration", _SEQ2SEQ),
    ("encoder-decoder", "marian", "MarianMTModel", {**_SEQ2SEQ, "scale_embedding": True}),
    ("vision", "vit", "ViTForImageClassification", _VIT),
    ("vision", "deit", "DeiTModel", _VIT),
    ("vision", "beit", "BeitModel", _VIT),
    ("vision", "dinov2", "Dinov2Model", _VIT),
    (
        "vision",
        "swin",
        "SwinForImageClassification",
        {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 4},
    ),
    (
        "vision",
        "convnext",
        "ConvNextForImageClassification",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32},
    ),
    ("vision", "resnet", "ResNetForImageClassification", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    (
        "vision",
        "segformer",
        "SegformerForSemanticSegmentation",
        {
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "num_attention_heads": [1, 2],
            "sr_ratios": [2, 1],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 16,
            "image_size": 32,
        },
    ),
    ("vision", "videomae", "VideoMAEForVideoClassification", {**_VIT, "num_frames": 4}),
    ("vision", "clip", "CLIPModel", _TOWERS),
    ("vision", "siglip", "SiglipModel", _TOWERS),
    (
        "audio",
        "whisper",
        "WhisperForConditionalGeneration",
        {**_SEQ2SEQ, "num_mel_bins": 16, "max_source_positions": 32, "max_target_positions": 192},
    ),
    ("audio", "wav2vec2", "Wav2Vec2ForCTC", _SPEECH),
    ("audio", "hubert", "HubertModel", _SPEECH),
    ("audio", "audio-spectrogram-transformer", "ASTForAudioClassification", {**_VIT, "num_mel_bins": 32, "max_length": 64}),
    ("mixture of experts", "mixtral", "MixtralForCausalLM", _MOE),
    ("mixture of experts", "qwen2_moe", "Qwen2MoeForCausalLM", _MOE),
    ("mixture of experts", "qwen3_moe", "Qwen3MoeForCausalLM", _MOE),
    (
        "mixture of experts",
        "switch_transformers",
        "SwitchTransformersForConditionalGeneration",
        {**_T5, "num_decoder_layers": 2, "num_experts": 4, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
    ),
    (
        "mixture of experts",
        "dbrx",
        "DbrxForCausalLM",
        {
            "d_model": 32,
            "n_heads": 4,
            "n_layers": 2,
            "vocab_size": 128,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000},
            "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
        },
    ),
    ("mixture of experts", "gpt_oss", "GptOssForCausalLM", {**_MOE, "sliding_window": 16}),
    (
        "mixture of experts",
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        {
            **_BERT,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    ("state space", "mamba", "MambaForCausalLM", _MAMBA),
    ("state space", "mamba2", "Mamba2ForCausalLM", {**_MAMBA, "head_dim": 8, "num_heads": 8, "n_groups": 2}),
    (
        "state space",
        "bamba",
        "BambaForCausalLM",
        {**_LLAMA, "attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1},
    ),
    (
        "state space",
        "jamba",
        "JambaForCausalLM",
        {
            **_MOE,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    (
        "state space",
        "rwkv",
        "RwkvForCausalLM",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "attention_hidden_size": 32,
            "intermediate_size": 64,
            "vocab_size": 128,
            "context_length": 64,
        },
    ),
)
