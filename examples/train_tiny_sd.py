"""Train `tiny-sd-digits`: a complete Stable Diffusion pipeline in under 12 MB, from MNIST, on two CPU cores.

    python examples/train_tiny_sd.py --mnist mnist.npz --output runs/tiny-sd-digits
    python examples/train_tiny_sd.py --output runs/tiny-sd-digits            # MNIST from the Hub (ylecun/mnist)

Three networks are trained one after the other, each with checkpoints, so that the same command resumes where it was
stopped: the judge (what is in the picture?), the autoencoder (3x32x32 pixels <-> 4x8x8 latents) and, together, the text
encoder and the denoiser (epsilon prediction, `scaled_linear` betas as SD 1.5, one caption in ten dropped so that
classifier-free guidance works). The last stage samples 500 prompts with 50 DDIM steps and has them judged.

About 90 minutes on two cores, minutes on a GPU. Needs the `train` extra.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tiny_digits import (
    COLOURS,
    DIGITS,
    GROUNDS,
    Judge,
    Labels,
    Mnist,
    draw_colours,
    draw_prompts,
    load_mnist,
    render,
    to_tensor,
)
from trainer import Trainer, add_loop_arguments, device_name, record

MAX_TOKENS = 16
TEXT_WIDTH = 96
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


# ----------------------------------------------------------------------------------------------------------- stages


def train_judge(train: Mnist, test: Mnist, options: argparse.Namespace) -> Judge:
    """The classifier that scores prompt accuracy, from rendered pictures with noise, blur and contrast added."""
    judge = Judge()
    trainer = Trainer("judge", judge, options, options.judge_steps, 2e-3)
    generator = torch.Generator().manual_seed(1)
    device = trainer.accelerator.device

    def loss(step: int) -> Tensor:
        picture, _, labels = train.batch(128, generator)
        if step % 2:
            picture = functional.avg_pool2d(functional.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)
        noise = 0.15 * torch.rand(len(picture), 1, 1, 1, generator=generator)
        picture = picture + noise * torch.randn(picture.shape, generator=generator)
        on_device = Labels(labels.digit.to(device), labels.colour.to(device), labels.ground.to(device))
        return judge.loss(picture.to(device), on_device)

    trainer.run(loss)
    judge = judge.float().cpu()
    for module in judge.modules():  # averaged weights need statistics of their own
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    judge.train()
    with torch.no_grad():
        for _ in range(40):
            judge(train.batch(128, generator)[0])
    judge.eval()
    labels = draw_colours(test.digits, generator)
    pictures, _ = render(test.strokes, labels, generator)
    record(options, "judge", judge.verdict(pictures, labels) | {"curve": trainer.curve})
    options.output.mkdir(parents=True, exist_ok=True)
    save_file(judge.state_dict(), options.output / "judge.safetensors")
    return judge


def train_autoencoder(train: Mnist, test: Mnist, judge: Judge, options: argparse.Namespace) -> AutoencoderKL:
    """Pixels to latents and back: absolute error, twice on the ink, plus absolute error of the gradients."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
    )
    trainer = Trainer("vae", vae, options, options.vae_steps, 1.5e-3)
    generator = torch.Generator().manual_seed(2)
    device = trainer.accelerator.device

    def loss(_: int) -> Tensor:
        picture, ink, _ = train.batch(48, generator)
        picture, ink = picture.to(device), ink.to(device)
        posterior = vae.encode(picture).latent_dist
        decoded = vae.decode(posterior.sample()).sample.float()
        weight = 1.0 + 3.0 * ink
        across = (decoded - picture).diff(dim=3).abs().mean() + (decoded - picture).diff(dim=2).abs().mean()
        return ((decoded - picture).abs() * weight).mean() + across + 2e-6 * posterior.kl().mean()

    def report(step: int) -> None:
        labels = draw_colours(test.digits[:500], generator)
        picture, _ = render(test.strokes[:500], labels, generator)
        decoded = vae.decode(vae.encode(picture.to(device)).latent_dist.mode()).sample.float().cpu()
        error = (decoded - picture).abs().mean().item() / 2
        verdict = {name: round(value, 3) for name, value in judge.verdict(decoded, labels).items()}
        tqdm.write(f"autoencoder, step {step}: mean error {error:.4f} of full scale, judged {verdict}")
        record(options, "vae", {"error": error, **verdict, "curve": trainer.curve})

    trainer.run(loss, report)
    with torch.no_grad():
        report(trainer.count)
    vae.register_to_config(scaling_factor=1.0 / encode(vae, train, 2000, options)[0].std().item())
    return vae


@torch.no_grad()
def encode(vae: AutoencoderKL, data: Mnist, number: int, options: argparse.Namespace) -> tuple[Tensor, Labels]:
    """Latents (N, 4, 8, 8), not scaled, of random pictures, and what they show."""
    device, parts, generator = next(vae.parameters()).device, [], torch.Generator().manual_seed(4)
    precision = "no" if options.mixed_precision == "auto" else options.mixed_precision
    accelerator = Accelerator(mixed_precision=precision, cpu=options.cpu)
    for _ in tqdm(range(-(-number // 500)), desc="latents", disable=number < 10_000):
        picture, _, labels = data.batch(500, generator)
        with accelerator.autocast():
            latents = vae.encode(picture.to(device)).latent_dist.mode()
        parts.append((latents.float().cpu(), labels))
    every = [torch.cat([getattr(labels, name) for _, labels in parts]) for name in ("digit", "colour", "ground")]
    return torch.cat([latents for latents, _ in parts]), Labels(*every)


def word_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in whose vocabulary every word of the captions is one token."""
    words = {word for name in (*DIGITS, *COLOURS, *GROUNDS) for word in name.split()} | {"a", "on", "background"}
    letters = sorted({letter for word in words for letter in word})
    tokens, merges = [*letters, *(letter + "</w>" for letter in letters)], []
    for word in sorted(words):
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            parts = [parts[0] + parts[1], *parts[2:]]
            if pair not in merges:
                merges.append(pair)
                tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=MAX_TOKENS
    )


def denoiser(tokenizer: CLIPTokenizer) -> nn.ModuleDict:
    """Text encoder and U-Net: attention to the caption at 4x4 and in the middle."""
    end = tokenizer.eos_token_id
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
    )
    return nn.ModuleDict({"text_encoder": CLIPTextModel(text), "unet": unet})


def train_denoiser(train: Mnist, vae: AutoencoderKL, judge: Judge, options: argparse.Namespace) -> Any:
    """Text encoder and U-Net together, on latents encoded once; returns the assembled pipeline."""
    tokenizer = word_tokenizer()
    networks = denoiser(tokenizer)
    trainer = Trainer("unet", networks, options, options.unet_steps, 1e-3)
    device = trainer.accelerator.device
    generator = torch.Generator().manual_seed(3 + trainer.count)
    pipe = assemble(vae, tokenizer, networks)
    pipe.set_progress_bar_config(disable=True)
    latents, labels = encode(vae, train, options.pool, options)
    latents = (latents * vae.config.scaling_factor).to(device)
    ids = tokenizer(labels.captions(), padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids
    empty = tokenizer([""], padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids
    snr_schedule = pipe.scheduler

    def loss(_: int) -> Tensor:
        index = torch.randint(len(latents), (options.batch,), generator=generator)
        dropped = torch.rand(options.batch, 1, generator=generator) < 0.1
        caption = networks["text_encoder"](torch.where(dropped, empty, ids[index]).to(device)).last_hidden_state
        time = torch.randint(1000, (options.batch,), generator=generator)
        noise = torch.randn(latents[index].shape, generator=generator).to(device)
        noised = snr_schedule.add_noise(latents[index.to(device)], noise, time)
        snr = compute_snr(snr_schedule, time)[:, None, None, None].to(device)
        error = networks["unet"](noised, time.to(device), caption).sample.float() - noise
        return (error.square() * (snr.clamp(max=5.0) / snr)).mean() if options.min_snr else error.square().mean()

    def report(step: int) -> None:
        scores = {k: round(v, 3) for k, v in prompt_accuracy(pipe, judge, 100, 20).items()}
        tqdm.write(f"denoiser, step {step}: 100 prompts, 20 DDIM steps: {scores}")

    trainer.run(loss, report, every=options.every)
    record(options, "unet", {"curve": trainer.curve})
    return pipe


def assemble(vae: AutoencoderKL, tokenizer: CLIPTokenizer, networks: nn.ModuleDict) -> StableDiffusionPipeline:
    """The pipeline, with the scheduler settings of SD 1.5."""
    scheduler = DDIMScheduler(**BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=networks["text_encoder"],
        tokenizer=tokenizer,
        unet=networks["unet"],
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@torch.no_grad()
def prompt_accuracy(pipe: Any, judge: Judge, number: int, steps: int, guidance: float = 3.0) -> dict[str, float]:
    """Shares of prompts whose picture the judge confirms; held-out combinations also apart."""
    labels, pictures = draw_prompts(number), []
    for start in range(0, number, 100):
        part = labels[slice(start, start + 100)]
        generator = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        out = pipe(
            part.captions(),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generator,
            height=32,
            width=32,
            output_type="np",
        )
        pictures.append(to_tensor(out.images))
    pictures, unseen = torch.cat(pictures), labels.held_out()
    return judge.verdict(pictures, labels) | {
        "held out": judge.verdict(pictures[unseen], labels[unseen])["all"] if unseen.any() else float("nan")
    }


def export(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline, weights in half precision except the text encoder's, which Transformers would not widen."""
    for module in (pipe.unet, pipe.vae):
        module.half()
    pipe.text_encoder.float()
    pipe.save_pretrained(folder, safe_serialization=True)
    for module in (pipe.unet, pipe.vae):
        module.float()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="local npz with x_train, y_train, x_test, y_test; else from the Hub")
    add_loop_arguments(parser, precision="bf16")
    parser.add_argument("--judge-steps", type=int, default=1500)
    parser.add_argument("--vae-steps", type=int, default=6000)
    parser.add_argument("--vae-minutes", type=float, default=None, help="end this stage, annealed, after so long")
    parser.add_argument("--unet-steps", type=int, default=10000)
    parser.add_argument("--unet-minutes", type=float, default=None)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pool", type=int, default=60_000, help="number of latents encoded in advance")
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints of the denoiser")
    parser.add_argument("--min-snr", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--prompts", type=int, default=500, help="number of prompts of the final figure")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    set_seed(0)
    setting = {"device": device_name(options), "precision": options.mixed_precision}
    record(options, "setting", setting | {"batch": options.batch, "prompts": options.prompts})
    train, test = load_mnist(options.mnist)
    judge = train_judge(train, test, options)
    vae = train_autoencoder(train, test, judge, options)
    pipe = train_denoiser(train, vae, judge, options)
    export(pipe, options.output / "pipeline")
    scores = prompt_accuracy(pipe, judge, options.prompts, 50)
    record(options, "prompt accuracy, 50 DDIM steps, guidance 3", scores)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
