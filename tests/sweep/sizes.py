"""Tiny sizes of the models of Diffusers: arguments of their constructors."""

from __future__ import annotations

from typing import Any

from tiny_pipelines.text import CLIP_WIDTH, T5_WIDTH

ONE_LAYER = {"num_layers": 1, "num_attention_heads": 2}
TWO_KINDS = {**ONE_LAYER, "num_single_layers": 1}
WAN = {
    **ONE_LAYER,
    "attention_head_dim": 16,
    "text_dim": T5_WIDTH,
    "freq_dim": 32,
    "ffn_dim": 40,
}
HUNYUAN = {
    **TWO_KINDS,
    "attention_head_dim": 10,
    "num_refiner_layers": 1,
    "rope_axes_dim": (2, 4, 4),
    "text_embed_dim": T5_WIDTH,
}
WAN_VAE = {"base_dim": 4, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1}
FOUR_BLOCKS = {"block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2}
MOTION = {"motion_layers_per_block": 1, "motion_norm_num_groups": 2, "motion_num_attention_heads": 2}

# fmt: off
SIZES: dict[str, dict[str, Any]] = {
    "AutoencoderKLWan": WAN_VAE,
    "AutoencoderKLQwenImage": WAN_VAE,
    "AutoencoderKLCogVideoX": FOUR_BLOCKS,
    "AutoencoderKLAllegro": FOUR_BLOCKS,
    "AutoencoderKLHunyuanVideo": FOUR_BLOCKS,
    "AutoencoderTiny": {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1), "latent_channels": 4},
    "AutoencoderKLFlux2": {"block_out_channels": (8, 16), "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups":
        4, "sample_size": 32},
    "AutoencoderKLTemporalDecoder": {"block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) *
        2, "latent_channels": 4, "sample_size": 32, "force_upcast": False},
    "AutoencoderKLMochi": {"latent_channels": 4, "encoder_block_out_channels": (32, 32, 32, 32),
        "decoder_block_out_channels": (32, 32, 32, 32), "layers_per_block": (1, 1, 1, 1, 1), "latents_mean": (0.0,)
        * 4, "latents_std": (1.0,) * 4},
    "AutoencoderKLHunyuanVideo15": {"latent_channels": 4, "block_out_channels": (16, 16), "layers_per_block": 1,
        "spatial_compression_ratio": 4, "temporal_compression_ratio": 4, "downsample_match_channel": False,
        "upsample_match_channel": False},
    "AutoencoderKLHunyuanImage": {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels":
        (32, 64, 64), "layers_per_block": 1, "sample_size": 32, "spatial_compression_ratio": 4, "scaling_factor":
        1.0},
    "AutoencoderKLCosmos": {"latent_channels": 4, "encoder_block_out_channels": (8, 8, 8, 8),
        "decode_block_out_channels": (8, 8, 8, 8), "num_layers": 1, "attention_resolutions": (), "latents_mean":
        [0.0] * 64, "latents_std": [1.0] * 64},
    "MotionAdapter": {"block_out_channels": (8, 16), **MOTION},
    "UNet3DConditionModel": {"block_out_channels": (4, 8), "layers_per_block": 1, "sample_size": 16,
        "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"), "norm_num_groups": 2, "up_block_types":
        ("UpBlock3D", "CrossAttnUpBlock3D"), "attention_head_dim": 4, "cross_attention_dim": CLIP_WIDTH},
    "ChromaTransformer2DModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 12, "axes_dims_rope": (4, 4,
        4), "joint_attention_dim": T5_WIDTH, "approximator_num_channels": 16, "approximator_hidden_dim": 16,
        "approximator_layers": 1},
    "Flux2Transformer2DModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 16, "axes_dims_rope": (4, 4,
        4, 4), "joint_attention_dim": T5_WIDTH, "timestep_guidance_channels": 16},
    "FluxControlNetModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 12, "axes_dims_rope": (4, 4, 4),
        "joint_attention_dim": T5_WIDTH, "pooled_projection_dim": CLIP_WIDTH},
    "QwenImageTransformer2DModel": {**ONE_LAYER, "in_channels": 64, "out_channels": 16, "attention_head_dim": 16,
        "axes_dims_rope": (8, 4, 4), "joint_attention_dim": T5_WIDTH},
    "QwenImageControlNetModel": {**ONE_LAYER, "in_channels": 64, "out_channels": 16, "attention_head_dim": 16,
        "axes_dims_rope": (8, 4, 4), "joint_attention_dim": T5_WIDTH},
    "AuraFlowTransformer2DModel": {"sample_size": 16, "in_channels": 4, "out_channels": 4, "num_mmdit_layers": 1,
        "num_single_dit_layers": 1, "attention_head_dim": 8, "num_attention_heads": 3, "joint_attention_dim":
        T5_WIDTH, "caption_projection_dim": 24, "pos_embed_max_size": 64},
    "HiDreamImageTransformer2DModel": {"patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 1,
        "num_single_layers": 1, "attention_head_dim": 8, "num_attention_heads": 3, "caption_channels": (T5_WIDTH,
        T5_WIDTH), "text_emb_dim": 2 * CLIP_WIDTH, "axes_dims_rope": (4, 2, 2), "max_resolution": (32, 32),
        "llama_layers": (0, 1)},
    "ZImageTransformer2DModel": {"in_channels": 4, "dim": 32, "n_layers": 1, "n_refiner_layers": 1, "n_heads": 2,
        "n_kv_heads": 2, "cap_feat_dim": T5_WIDTH, "axes_dims": [8, 4, 4], "axes_lens": [256, 32, 32]},
    "Lumina2Transformer2DModel": {"sample_size": 16, "in_channels": 4, "hidden_size": 24, "num_layers": 1,
        "num_refiner_layers": 1, "num_attention_heads": 3, "num_kv_heads": 1, "multiple_of": 2, "axes_dim_rope": (4,
        2, 2), "axes_lens": (96, 32, 32), "cap_feat_dim": T5_WIDTH},
    "CogView4Transformer2DModel": {"in_channels": 4, "out_channels": 4, "num_layers": 1, "attention_head_dim": 8,
        "num_attention_heads": 3, "text_embed_dim": T5_WIDTH, "time_embed_dim": 8, "condition_dim": 4,
        "sample_size": 16},
    "HunyuanDiT2DModel": {**ONE_LAYER, "sample_size": 16, "in_channels": 4, "patch_size": 2, "attention_head_dim":
        8, "hidden_size": 16, "cross_attention_dim": CLIP_WIDTH, "cross_attention_dim_t5": T5_WIDTH,
        "pooled_projection_dim": 16, "text_len": 77, "text_len_t5": 256},
    "WanVACETransformer3DModel": {**WAN, "num_layers": 2, "vace_layers": [0], "vace_in_channels": 96},
    "ChronoEditTransformer3DModel": WAN,
    "SkyReelsV2Transformer3DModel": WAN,
    "HunyuanVideoTransformer3DModel": {**HUNYUAN, "in_channels": 4, "out_channels": 4, "pooled_projection_dim":
        CLIP_WIDTH},
    "Kandinsky5Transformer3DModel": {"in_visual_dim": 4, "out_visual_dim": 4, "in_text_dim": T5_WIDTH,
        "in_text_dim2": CLIP_WIDTH, "time_dim": 32, "model_dim": 32, "ff_dim": 32, "num_text_blocks": 1,
        "num_visual_blocks": 1, "axes_dims": (4, 6, 6)},
    "CogVideoXTransformer3DModel": {**ONE_LAYER, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4,
        "time_embed_dim": 2, "text_embed_dim": T5_WIDTH, "sample_width": 4, "sample_height": 4, "sample_frames": 9,
        "max_text_seq_length": 24},
    "SanaVideoTransformer3DModel": {**ONE_LAYER, "in_channels": 16, "out_channels": 16, "attention_head_dim": 12,
        "num_cross_attention_heads": 2, "cross_attention_head_dim": 12, "cross_attention_dim": 24,
        "caption_channels": T5_WIDTH, "sample_size": 4},
    "AllegroTransformer3DModel": {**ONE_LAYER, "attention_head_dim": 12, "cross_attention_dim": 24,
        "caption_channels": T5_WIDTH, "sample_width": 4, "sample_height": 4, "sample_frames": 3},
    "CogView3PlusTransformer2DModel": {"in_channels": 4, "out_channels": 4, "num_layers": 1, "attention_head_dim":
        8, "num_attention_heads": 3, "text_embed_dim": T5_WIDTH, "time_embed_dim": 8, "condition_dim": 2,
        "pos_embed_max_size": 8, "sample_size": 8},
    "CosmosTransformer3DModel": {**ONE_LAYER, "in_channels": 16, "out_channels": 16, "attention_head_dim": 16,
        "mlp_ratio": 2, "text_embed_dim": T5_WIDTH, "adaln_lora_dim": 4, "max_size": (4, 32, 32),
        "extra_pos_embed_type": None},
    "DiTTransformer2DModel": {**ONE_LAYER, "sample_size": 8, "in_channels": 4, "out_channels": 8,
        "attention_head_dim": 8},
    "BriaTransformer2DModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 12, "axes_dims_rope": [4, 4,
        4], "joint_attention_dim": T5_WIDTH},
    "BriaFiboTransformer2DModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 12, "axes_dims_rope": [4,
        4, 4], "joint_attention_dim": 2 * T5_WIDTH, "text_encoder_dim": T5_WIDTH},
    "LongCatImageTransformer2DModel": {**TWO_KINDS, "in_channels": 16, "attention_head_dim": 12, "axes_dims_rope":
        [4, 4, 4], "joint_attention_dim": T5_WIDTH, "pooled_projection_dim": T5_WIDTH},
    "OvisImageTransformer2DModel": {**TWO_KINDS, "in_channels": 16, "out_channels": 16, "attention_head_dim": 12,
        "axes_dims_rope": (4, 4, 4), "joint_attention_dim": T5_WIDTH},
    "PRXTransformer2DModel": {"in_channels": 4, "context_in_dim": T5_WIDTH, "hidden_size": 32, "num_heads": 2,
        "depth": 1, "axes_dim": [8, 8]},
    "Krea2Transformer2DModel": {"in_channels": 16, "num_layers": 1, "attention_head_dim": 12, "num_attention_heads":
        2, "num_key_value_heads": 2, "intermediate_size": 32, "timestep_embed_dim": 16, "text_hidden_dim": T5_WIDTH,
        "num_text_layers": 2, "text_num_attention_heads": 2, "text_num_key_value_heads": 2,
        "text_intermediate_size": 32, "num_layerwise_text_blocks": 1, "num_refiner_text_blocks": 1,
        "axes_dims_rope": (4, 4, 4)},
    "ErnieImageTransformer2DModel": {**ONE_LAYER, "hidden_size": 32, "ffn_hidden_size": 32, "in_channels": 16,
        "out_channels": 16, "text_in_dim": T5_WIDTH, "rope_axes_dim": (4, 6, 6)},
    "QwenImage21Transformer2DModel": {**ONE_LAYER, "in_channels": 64, "out_channels": 64, "attention_head_dim": 16,
        "context_in_dim": T5_WIDTH, "axes_dims_rope": (8, 4, 4)},
    "HunyuanImageTransformer2DModel": {**HUNYUAN, "in_channels": 4, "out_channels": 4, "rope_axes_dim": (4, 6),
        "text_embed_2_dim": T5_WIDTH},
    "LuminaNextDiT2DModel": {"sample_size": 8, "in_channels": 4, "hidden_size": 24, "num_layers": 1,
        "num_attention_heads": 3, "num_kv_heads": 1, "multiple_of": 16, "cross_attention_dim": T5_WIDTH},
    "OmniGenTransformer2DModel": {"in_channels": 4, "hidden_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 32, "num_layers": 1, "pad_token_id": 0, "vocab_size": 1000,
        "time_step_dim": 4},
    "NucleusMoEImageTransformer2DModel": {"in_channels": 64, "out_channels": 16, "num_layers": 1,
        "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": T5_WIDTH, "axes_dims_rope": (8,
        4, 4), "moe_enabled": False},
    "MochiTransformer3DModel": {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2,
        "pooled_projection_dim": 16, "in_channels": 4, "qk_norm": "rms_norm", "text_embed_dim": T5_WIDTH,
        "time_embed_dim": 4, "max_sequence_length": 24},
    "HunyuanVideo15Transformer3DModel": {"in_channels": 9, "out_channels": 4, "num_attention_heads": 2,
        "attention_head_dim": 16, "num_layers": 1, "num_refiner_layers": 1, "text_embed_dim": T5_WIDTH,
        "text_embed_2_dim": T5_WIDTH, "image_embed_dim": 16, "rope_axes_dim": (4, 6, 6), "target_size": 32},
    "HunyuanVideoFramepackTransformer3DModel": {**HUNYUAN, "in_channels": 4, "out_channels": 4,
        "pooled_projection_dim": CLIP_WIDTH, "image_condition_type": None, "has_image_proj": True, "image_proj_dim":
        16, "has_clean_x_embedder": True},
    "MotifVideoTransformer3DModel": {**TWO_KINDS, "in_channels": 33, "out_channels": 16, "attention_head_dim": 16,
        "text_embed_dim": T5_WIDTH, "rope_axes_dim": (4, 6, 6)},
    "SD3ControlNetModel": {**ONE_LAYER, "sample_size": 16, "in_channels": 8, "out_channels": 8,
        "num_attention_heads": 3, "attention_head_dim": 8, "caption_projection_dim": 24, "joint_attention_dim":
        T5_WIDTH, "pooled_projection_dim": 2 * CLIP_WIDTH, "pos_embed_max_size": 16},
    "SanaControlNetModel": {**ONE_LAYER, "in_channels": 4, "out_channels": 4, "attention_head_dim": 4,
        "num_cross_attention_heads": 2, "cross_attention_head_dim": 4, "cross_attention_dim": 8, "caption_channels":
        T5_WIDTH, "sample_size": 16},
    "Kandinsky3UNet": {"time_embedding_dim": 4, "groups": 2, "attention_head_dim": 4, "layers_per_block": 1,
        "block_out_channels": (32, 64), "cross_attention_dim": 4, "encoder_hid_dim": T5_WIDTH},
    "LatteTransformer3DModel": {**ONE_LAYER, "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 8,
        "attention_head_dim": 10, "cross_attention_dim": 20, "caption_channels": T5_WIDTH, "video_length": 1,
        "norm_type": "ada_norm_single", "norm_elementwise_affine": False, "num_embeds_ada_norm": 1000,
        "attention_bias": True, "activation_fn": "gelu-approximate"},
    "UNet1DModel": {"block_out_channels": (32, 32, 64), "extra_in_channels": 64, "sample_size": 512, "sample_rate":
        16000, "in_channels": 2, "out_channels": 2},
    "I2VGenXLUNet": {"block_out_channels": (4, 8), "layers_per_block": 1, "sample_size": 16, "down_block_types":
        ("CrossAttnDownBlock3D", "DownBlock3D"), "norm_num_groups": 2, "up_block_types": ("UpBlock3D",
        "CrossAttnUpBlock3D"), "num_attention_heads": 2, "cross_attention_dim": CLIP_WIDTH},
    "T2IAdapter": {"channels": [8, 16], "num_res_blocks": 1, "downscale_factor": 2},
    "PriorTransformer": {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "embedding_dim":
        CLIP_WIDTH},
    "EasyAnimateTransformer3DModel": {**ONE_LAYER, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4,
        "time_embed_dim": 2, "text_embed_dim": T5_WIDTH, "patch_size": 2, "sample_width": 4, "sample_height": 4,
        "mmdit_layers": 1},
    "AutoencoderKLMagvit": {"latent_channels": 4, "block_out_channels": (8, 8, 8, 8), "down_block_types":
        ("SpatialDownBlock3D", "SpatialTemporalDownBlock3D", "SpatialTemporalDownBlock3D",
        "SpatialTemporalDownBlock3D"), "up_block_types": ("SpatialUpBlock3D", "SpatialTemporalUpBlock3D",
        "SpatialTemporalUpBlock3D", "SpatialTemporalUpBlock3D"), "layers_per_block": 1, "norm_num_groups": 2,
        "spatial_group_norm": False},
    "GlmImageTransformer2DModel": {**ONE_LAYER, "in_channels": 4, "out_channels": 4, "attention_head_dim": 16,
        "text_embed_dim": T5_WIDTH, "time_embed_dim": 16, "condition_dim": 8, "prior_vq_quantizer_codebook_size":
        32},
    "JoyImageEditTransformer3DModel": {**ONE_LAYER, "hidden_size": 32, "text_dim": T5_WIDTH, "rope_dim_list": [4, 6,
        6]},
    "JoyImageEditPlusTransformer3DModel": {**ONE_LAYER, "hidden_size": 32, "text_dim": T5_WIDTH, "rope_dim_list":
        [4, 6, 6]},
    "WanAnimateTransformer3DModel": {**WAN, "image_dim": CLIP_WIDTH, "motion_encoder_size": 16, "motion_style_dim":
        8, "motion_dim": 4, "motion_encoder_dim": 16, "face_encoder_hidden_dim": 16, "face_encoder_num_heads": 2,
        "inject_face_latents_blocks": 2},
    "AnyFlowTransformer3DModel": WAN,
    "AnyFlowFARTransformer3DModel": {**WAN, "chunk_partition": (1, 2)},
    "LTX2VideoTransformer3DModel": {"in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "num_layers": 1,
        "attention_head_dim": 8, "cross_attention_dim": 16, "audio_in_channels": 4, "audio_out_channels": 4,
        "audio_num_attention_heads": 2, "audio_attention_head_dim": 4, "audio_cross_attention_dim": 8,
        "caption_channels": 32, "rope_double_precision": False, "rope_type": "split"},
    "AutoencoderKLLTX2Video": {"latent_channels": 4, "block_out_channels": (8,), "decoder_block_out_channels": (8,),
        "layers_per_block": (1,), "decoder_layers_per_block": (1, 1), "spatio_temporal_scaling": (True,),
        "decoder_spatio_temporal_scaling": (True,), "decoder_inject_noise": (False, False), "downsample_type":
        ("spatial",), "upsample_residual": (False,), "upsample_factor": (1,), "patch_size": 1},
    "AutoencoderKLLTX2Audio": {"base_channels": 4, "ch_mult": (1,), "num_res_blocks": 1, "resolution": 32,
        "latent_channels": 2, "mel_bins": 8},
    "StableAudio3DiTModel": {"io_channels": 8, "embed_dim": 32, "depth": 1, "num_heads": 4, "cond_token_dim": 16,
        "global_cond_dim": 16, "local_add_cond_dim": 9, "timestep_features_dim": 16, "ff_mult": 2,
        "num_memory_tokens": 3, "use_differential_attention": False},
    "AutoencoderSAME": {"patch_size": 2, "encoder_channels": 8, "encoder_c_mults": (2,), "encoder_strides": (2,),
        "encoder_transformer_depths": (1,), "latent_dim": 8, "use_differential_attention": False, "dim_heads": 4,
        "ff_mult": 2, "sampling_rate": 16},
    "AceStepTransformer1DModel": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "in_channels": 24,
        "audio_acoustic_hidden_dim": 8, "sliding_window": 16},
    "AutoencoderOobleck": {"encoder_hidden_size": 6, "downsampling_ratios": [1, 2], "decoder_channels": 3,
        "decoder_input_channels": 8, "channel_multiples": [2, 4], "sampling_rate": 4},
    "AutoencoderKLHunyuanImageRefiner": {"latent_channels": 4, "block_out_channels": (16, 16), "layers_per_block": 1,
        "spatial_compression_ratio": 4, "temporal_compression_ratio": 4, "downsample_match_channel": False,
        "upsample_match_channel": False},
}
# fmt: on
