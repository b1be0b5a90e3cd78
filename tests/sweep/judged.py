"""What is known of every class: it runs, it cannot and why, or it is not built here and why.

The sweep holds each against what it finds; a class that stands in none of these tables is unjudged, and fails a quick
test, so that a newer Diffusers cannot bring one unseen.
"""

from __future__ import annotations

from tiny_pipelines.families import IMPOSSIBLE


def _each(reasons: dict[str, str]) -> dict[str, str]:
    """Name -> reason, from reason -> names."""
    return {name: reason for reason, names in reasons.items() for name in names.split()}


UPSCALER = (
    'preconditions by scaled latents itself: `from_config(..., process="edm", sigma_data=1.0, sigma_min=0.03, '
    'sigma_max=14.6, prediction_type="sample")`; without these it runs, and ends elsewhere'
)

RUNS = frozenset(
    """
    AceStepPipeline AllegroPipeline AltDiffusionImg2ImgPipeline AltDiffusionPipeline AnimateDiffControlNetPipeline
    AnimateDiffPAGPipeline AnimateDiffPipeline AnimateDiffSDXLPipeline AnimateDiffSparseControlNetPipeline
    AnimateDiffVideoToVideoControlNetPipeline AnimateDiffVideoToVideoPipeline AudioLDM2Pipeline AudioLDMPipeline
    AuraFlowPipeline BlipDiffusionControlNetPipeline BlipDiffusionPipeline BriaFibo2Pipeline BriaFiboEditPipeline
    BriaFiboPipeline BriaPipeline ChromaImg2ImgPipeline ChromaInpaintPipeline ChromaPipeline ChronoEditPipeline
    CogVideoXFunControlPipeline CogVideoXImageToVideoPipeline CogVideoXPipeline CogVideoXVideoToVideoPipeline
    CogView3PlusPipeline CogView4ControlPipeline CogView4Pipeline Cosmos2TextToImagePipeline Cosmos2VideoToWorldPipeline
    Cosmos2_5_PredictBasePipeline Cosmos2_5_TransferPipeline Cosmos3OmniPipeline DDIMPipeline DDPMPipeline
    DanceDiffusionPipeline DiTPipeline DreamLiteMobilePipeline DreamLitePipeline EasyAnimateControlPipeline
    EasyAnimateInpaintPipeline EasyAnimatePipeline ErnieImagePipeline Flux2KleinInpaintPipeline Flux2KleinKVPipeline
    Flux2KleinPipeline Flux2Pipeline FluxControlImg2ImgPipeline FluxControlInpaintPipeline FluxControlNetImg2ImgPipeline
    FluxControlNetInpaintPipeline FluxControlNetPipeline FluxControlPipeline FluxFillPipeline FluxImg2ImgPipeline
    FluxInpaintPipeline FluxKontextInpaintPipeline FluxKontextPipeline FluxPipeline GlmImagePipeline
    HiDreamImagePipeline HunyuanDiTControlNetPipeline HunyuanDiTPAGPipeline HunyuanDiTPipeline HunyuanImagePipeline
    HunyuanImageRefinerPipeline HunyuanSkyreelsImageToVideoPipeline HunyuanVideo15ImageToVideoPipeline
    HunyuanVideo15Pipeline HunyuanVideoFramepackPipeline HunyuanVideoImageToVideoPipeline HunyuanVideoPipeline
    I2VGenXLPipeline IFImg2ImgPipeline IFImg2ImgSuperResolutionPipeline IFInpaintingPipeline
    IFInpaintingSuperResolutionPipeline IFPipeline IFSuperResolutionPipeline Ideogram4Pipeline JoyImageEditPipeline
    JoyImageEditPlusPipeline Kandinsky3Img2ImgPipeline Kandinsky3Pipeline Kandinsky5I2IPipeline Kandinsky5I2VPipeline
    Kandinsky5T2IPipeline Kandinsky5T2VPipeline Kandinsky6SRPipeline Kandinsky6TI2VAPipeline KandinskyCombinedPipeline
    KandinskyImg2ImgCombinedPipeline KandinskyImg2ImgPipeline KandinskyInpaintCombinedPipeline KandinskyInpaintPipeline
    KandinskyPipeline KandinskyV22CombinedPipeline KandinskyV22ControlnetImg2ImgPipeline KandinskyV22ControlnetPipeline
    KandinskyV22Img2ImgCombinedPipeline KandinskyV22Img2ImgPipeline KandinskyV22InpaintCombinedPipeline
    KandinskyV22InpaintPipeline KandinskyV22Pipeline Krea2Pipeline LDMPipeline LDMSuperResolutionPipeline
    LDMTextToImagePipeline LTX2ConditionPipeline LTX2DFRPipeline LTX2HDRPipeline LTX2ImageToVideoPipeline
    LTX2InContextPipeline LTX2Pipeline LTXConditionPipeline LTXI2VLongMultiPromptPipeline LTXImageToVideoPipeline
    LTXPipeline LattePipeline LongCatAudioDiTPipeline LongCatImageEditPipeline LongCatImagePipeline LucyEditPipeline
    Lumina2Pipeline LuminaPipeline MarigoldDepthPipeline MarigoldIntrinsicsPipeline MarigoldNormalsPipeline
    MochiPipeline MotifVideoImage2VideoPipeline MotifVideoPipeline MusicLDMPipeline NucleusMoEImagePipeline
    OmniGenPipeline OvisImagePipeline PIAPipeline PNDMPipeline PRXPipeline PRXPixelPipeline PaintByExamplePipeline
    PixArtAlphaPipeline PixArtSigmaPAGPipeline PixArtSigmaPipeline QwenImage21Pipeline
    QwenImageControlNetInpaintPipeline QwenImageControlNetPipeline QwenImageEditInpaintPipeline QwenImageEditPipeline
    QwenImageEditPlusPipeline QwenImageImg2ImgPipeline QwenImageInpaintPipeline QwenImageLayeredPipeline
    QwenImagePipeline SanaControlNetPipeline SanaImageToVideoPipeline SanaPAGPipeline SanaPipeline SanaVideoPipeline
    SanaWMPipeline SemanticStableDiffusionPipeline ShapEImg2ImgPipeline ShapEPipeline
    SkyReelsV2DiffusionForcingImageToVideoPipeline SkyReelsV2DiffusionForcingPipeline
    SkyReelsV2DiffusionForcingVideoToVideoPipeline SkyReelsV2ImageToVideoPipeline SkyReelsV2Pipeline
    StableAudio3AudioToAudioPipeline StableAudio3InpaintPipeline StableAudio3Pipeline
    StableDiffusion3ControlNetInpaintingPipeline StableDiffusion3ControlNetPipeline StableDiffusion3Img2ImgPipeline
    StableDiffusion3InpaintPipeline StableDiffusion3PAGImg2ImgPipeline StableDiffusion3PAGPipeline
    StableDiffusion3Pipeline StableDiffusionAdapterPipeline StableDiffusionAttendAndExcitePipeline
    StableDiffusionControlNetImg2ImgPipeline StableDiffusionControlNetInpaintPipeline
    StableDiffusionControlNetPAGInpaintPipeline StableDiffusionControlNetPAGPipeline StableDiffusionControlNetPipeline
    StableDiffusionControlNetXSPipeline StableDiffusionDepth2ImgPipeline StableDiffusionDiffEditPipeline
    StableDiffusionGLIGENPipeline StableDiffusionGLIGENTextImagePipeline StableDiffusionImageVariationPipeline
    StableDiffusionImg2ImgPipeline StableDiffusionInpaintPipeline StableDiffusionInpaintPipelineLegacy
    StableDiffusionInstructPix2PixPipeline StableDiffusionLDM3DPipeline StableDiffusionLatentUpscalePipeline
    StableDiffusionModelEditingPipeline StableDiffusionPAGImg2ImgPipeline StableDiffusionPAGInpaintPipeline
    StableDiffusionPAGPipeline StableDiffusionPanoramaPipeline StableDiffusionPipeline StableDiffusionPipelineSafe
    StableDiffusionPix2PixZeroPipeline StableDiffusionSAGPipeline StableDiffusionUpscalePipeline
    StableDiffusionXLAdapterPipeline StableDiffusionXLControlNetImg2ImgPipeline
    StableDiffusionXLControlNetInpaintPipeline StableDiffusionXLControlNetPAGImg2ImgPipeline
    StableDiffusionXLControlNetPAGPipeline StableDiffusionXLControlNetPipeline
    StableDiffusionXLControlNetUnionImg2ImgPipeline StableDiffusionXLControlNetUnionInpaintPipeline
    StableDiffusionXLControlNetUnionPipeline StableDiffusionXLControlNetXSPipeline StableDiffusionXLImg2ImgPipeline
    StableDiffusionXLInpaintPipeline StableDiffusionXLInstructPix2PixPipeline StableDiffusionXLPAGImg2ImgPipeline
    StableDiffusionXLPAGInpaintPipeline StableDiffusionXLPAGPipeline StableDiffusionXLPipeline
    StableUnCLIPImg2ImgPipeline StableUnCLIPPipeline StableVideoDiffusionPipeline TextToVideoSDPipeline
    TextToVideoZeroPipeline TextToVideoZeroSDXLPipeline UniDiffuserPipeline VersatileDiffusionDualGuidedPipeline
    VersatileDiffusionImageVariationPipeline VersatileDiffusionPipeline VersatileDiffusionTextToImagePipeline
    VideoToVideoSDPipeline VisualClozeGenerationPipeline VisualClozePipeline WanAnimatePipeline WanImageToVideoPipeline
    WanPipeline WanVACEPipeline WanVideoToVideoPipeline ZImageControlNetInpaintPipeline ZImageControlNetPipeline
    ZImageImg2ImgPipeline ZImageInpaintPipeline ZImageOmniPipeline ZImagePipeline
    """.split()
)
"""Those that run with both schedulers."""

REMARKS = _each(
    {
        "asks for whole times: `ScoreOptimalScheduler` needs `whole_timesteps=True`": """
        KandinskyImg2ImgPipeline StableDiffusionSAGPipeline TextToVideoZeroPipeline
        """,
        "asks for whole times: `ScoreOptimalScheduler` needs `whole_timesteps=True`; assign to `pipe.decoder_pipe`": """
        KandinskyImg2ImgCombinedPipeline
        """,
        "made of other pipelines: assign to `pipe.decoder_pipe.scheduler`": """
        KandinskyCombinedPipeline KandinskyInpaintCombinedPipeline KandinskyV22CombinedPipeline
        KandinskyV22Img2ImgCombinedPipeline KandinskyV22InpaintCombinedPipeline
        """,
        "made of other pipelines: assign to `pipe.generation_pipe.scheduler` and `pipe.upsampling_pipe.scheduler`": """
        VisualClozePipeline
        """,
        UPSCALER: """
        StableDiffusionLatentUpscalePipeline
        """,
        "shifts by resolution with Diffusers' FlowMatchEuler alone: use a config without `use_dynamic_shifting`": """
        BriaPipeline
        """,
        "makes DDIM of any scheduler when it is built and loaded: assign ours afterwards": """
        DDIMPipeline
        """,
        "fails with any scheduler in this Diffusers, whose network has no `guidance_embeds`: run with that mended": """
        ChromaInpaintPipeline
        """,
        "fails with any scheduler in this Diffusers, calls `encode_prompt` with too much: run with that mended": """
        EasyAnimateControlPipeline
        """,
        "fails with any scheduler in this Diffusers, its autoencoder has no `cache_mag_vae`: run with that mended": """
        EasyAnimateInpaintPipeline
        """,
        "fails with any scheduler and Transformers 5 but with `clip_skip=None`": """
        I2VGenXLPipeline
        """,
        "fails with any scheduler and Transformers 5, whose Q-Former has changed: run with its answer given": """
        BlipDiffusionControlNetPipeline BlipDiffusionPipeline
        """,
        "fails with any scheduler in this Diffusers, its network gets a mask too many: run with that mended": """
        VersatileDiffusionDualGuidedPipeline
        """,
        "makes a sound too: where it has an `audio_scheduler`, assign ours there as well": """
        LTX2ConditionPipeline LTX2HDRPipeline LTX2InContextPipeline
        """,
        "has no call: run by `text_to_image`": """
        VersatileDiffusionPipeline
        """,
        "makes PNDM of any scheduler when it is built and loaded: assign ours afterwards": """
        PNDMPipeline
        """,
    }
)
"""What a user of one that runs has to know."""

UNMEASURED = _each(
    {
        "calls its network at times that are not those of its sigmas, and statistics are written against times": """
        CogView4ControlPipeline CogView4Pipeline GlmImagePipeline
        """,
        "has a list of guidances, one for each step, and a measurement takes one step more": """
        Ideogram4Pipeline
        """,
        "measure `pipe.decoder_pipe`": """
        KandinskyCombinedPipeline KandinskyImg2ImgCombinedPipeline KandinskyInpaintCombinedPipeline
        KandinskyV22CombinedPipeline KandinskyV22Img2ImgCombinedPipeline KandinskyV22InpaintCombinedPipeline
        """,
        "measure `pipe.generation_pipe` and `pipe.upsampling_pipe`": """
        VisualClozePipeline
        """,
        "takes no number of steps: call it yourself within `recording(pipe)`": """
        LTX2DFRPipeline
        """,
        "takes its steps by copies of its scheduler, one for each frame": """
        SkyReelsV2DiffusionForcingImageToVideoPipeline SkyReelsV2DiffusionForcingPipeline
        SkyReelsV2DiffusionForcingVideoToVideoPipeline
        """,
        "takes its steps by copies of its scheduler, one for each view: measure `StableDiffusionPipeline`": """
        StableDiffusionPanoramaPipeline
        """,
        "wants an inverted latent for each step, and a measurement takes one step more: measure "
        "`StableDiffusionPipeline`": """
        StableDiffusionDiffEditPipeline
        """,
        "moves frames apart within a run: measure `StableDiffusionPipeline`": """
        TextToVideoZeroPipeline
        """,
        "moves frames apart within a run: measure `StableDiffusionXLPipeline`": """
        TextToVideoZeroSDXLPipeline
        """,
        "measure `VersatileDiffusionTextToImagePipeline`": """
        VersatileDiffusionPipeline
        """,
    }
)
"""Those that run, and cannot be measured."""

LIKE = {
    "AnyFlowFARPipeline": "ConsistencyModelPipeline",
    "AnyFlowPipeline": "ConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline": "ConsistencyModelPipeline",
    "LatentConsistencyModelPipeline": "ConsistencyModelPipeline",
    "SanaSprintImg2ImgPipeline": "ConsistencyModelPipeline",
    "SanaSprintPipeline": "ConsistencyModelPipeline",
    "KandinskyV22PriorEmb2EmbPipeline": "KandinskyV22PriorPipeline",
    "UnCLIPImageVariationPipeline": "UnCLIPPipeline",
    "StableCascadeCombinedPipeline": "StableCascadePriorPipeline",
    "WuerstchenCombinedPipeline": "StableCascadePriorPipeline",
    "WuerstchenDecoderPipeline": "StableCascadePriorPipeline",
    "WuerstchenPriorPipeline": "StableCascadePriorPipeline",
}
"""Those that cannot for the reason of another."""

_CATALOGUE = {name: row.reason for row in IMPOSSIBLE for name in row.pipelines}
NO = (
    _CATALOGUE
    | {name: _CATALOGUE[other] for name, other in LIKE.items() if other in _CATALOGUE}
    | _each(
        {
            "a model of tokens, which has no noise to integrate": """
            AmusedImg2ImgPipeline AmusedInpaintPipeline AmusedPipeline DiffusionGemmaPipeline LLaDA2Pipeline
            VQDiffusionPipeline
            """,
            "its pyramid of stages is its scheduler's own": """
            HeliosPipeline HeliosPyramidPipeline
            """,
            "its steps run in parallel by `batch_step_no_noise` of a stochastic scheduler": """
            StableDiffusionParadigmsPipeline
            """,
            "never asks its scheduler: its decoder takes steps of its own": """
            LTX2VideoDiffusionDecodePipeline
            """,
            "two schedulers of its own for atoms, which draw noise and learn the velocity towards the data": """
            RFD4ProteinaPipeline
            """,
            "takes steps by LTXEulerAncestralRFScheduler alone, which draws noise": """
            LTX2DFRTemporalRefinePipeline
            """,
        }
    )
)
"""Those that cannot."""

NOT_BUILT: dict[str, str] = {}
"""Those that these tests do not build, and why."""

HIDDEN = _each(
    {
        "the library audio_diffusion or librosa": """
        AudioDiffusionPipeline SpectrogramDiffusionPipeline
        """,
        "OpenCV": """
        ConsisIDPipeline
        """,
        "sentencepiece": """
        KolorsImg2ImgPipeline KolorsPAGPipeline KolorsPipeline
        """,
        "ONNX Runtime": """
        OnnxStableDiffusionImg2ImgPipeline OnnxStableDiffusionInpaintPipeline OnnxStableDiffusionInpaintPipelineLegacy
        OnnxStableDiffusionPipeline OnnxStableDiffusionUpscalePipeline StableDiffusionOnnxPipeline
        """,
    }
)
"""Those that Diffusers hides where a library is not installed, and which."""
