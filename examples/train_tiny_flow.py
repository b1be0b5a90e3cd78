"""Train `tiny-flow-emoji`: a complete flow-matching pipeline under 14 MB that draws emoji from their names.

    npm pack emoji-datasource-google@16.0.0 && tar xf emoji-datasource-google-16.0.0.tgz
    python examples/train_tiny_flow.py --data package --output runs/tiny-flow-emoji

`--data` takes the unpacked package or an npz file with the arrays `images` (N, 64, 64, 4), `names`, `categories` and
`subcategories`. Three networks are trained one after the other, each with checkpoints, so that the same command resumes
where it was stopped: the autoencoder (3x64x64 pixels <-> 16x8x8 latents), the judge (which emoji is it?) and, together,
two text encoders and the transformer of Stable Diffusion 3 (flow matching with logit-normal times, one caption in ten
dropped so that classifier-free guidance works). The last stage draws four hundred emoji with 50 Euler steps and
has the pictures judged.

Two hours on two cores, minutes on a GPU. Needs the `train` extra.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.attention_processor import Attention, JointAttnProcessor2_0
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPTokenizer

from tiny_emoji import SIZE, Emoji, Judge, hits, load_emoji, variants, worsened
from tiny_text import MAX_TOKENS, PADDING, TEXT_WIDTHS, silent_t5, text_encoder, word_tokenizer
from trainer import Trainer, add_loop_arguments, device_name, record

CHANNELS = 16


# ------------------------------------------------------------------------------------------------------ autoencoder


def autoencoder() -> AutoencoderTiny:
    """Plain convolutions, hardly any of them at full size; begun as residual networks should be, or it learns late."""
    vae = AutoencoderTiny(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(64,) * 4,
        num_encoder_blocks=(0, 1, 2, 2),
        num_decoder_blocks=(2, 2, 2, 0),
        latent_channels=CHANNELS,
    )
    convolutions = [module for module in vae.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    quiet = [module.conv[4] for module in vae.modules() if type(module).__name__ == "AutoencoderTinyBlock"]
    for module, factor in [*((last, 0.2) for last in quiet), (vae.encoder.layers[-1], 0.5), (convolutions[-1], 0.3)]:
        module.weight.data.mul_(factor)
    return vae


def train_autoencoder(emoji: Emoji, options: argparse.Namespace) -> AutoencoderTiny:
    """Pixels to latents and back: absolute and squared error of the picture and absolute error of its gradients.

    Quarters of pictures do, as nothing in the network looks further than its convolutions. Every latent channel is
    kept near mean zero and deviation one, as the transformer wants it, and noise on the latents makes the decoder
    forgive what the transformer leaves over.
    """
    vae = autoencoder()
    trainer = Trainer("vae", vae, options, options.vae_steps, 2e-3)
    generator = torch.Generator().manual_seed(2 + trainer.count)
    device = trainer.accelerator.device

    def loss(_: int) -> Tensor:
        picture = crop(emoji.batch(options.vae_batch, 3, generator)[0], generator)
        picture = picture.to(device, memory_format=torch.channels_last)
        latents = vae.encode(picture).latents
        noise = torch.randn(latents.shape, generator=generator).to(device)
        error = vae.decode(latents + 0.08 * noise).sample.float() - picture
        edges = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
        spread, mean = torch.std_mean(latents.float(), dim=(0, 2, 3))
        kept = 0.02 * ((spread - 1.0).square().mean() + mean.square().mean())
        return error.abs().mean() + error.square().mean() + 0.5 * edges + kept

    def report(step: int) -> None:
        picture = emoji.all()[::4]
        error = (decode(vae, encode(vae, picture)) - picture).abs().mean().item() / 2
        tqdm.write(f"autoencoder, step {step}: mean error {error:.4f} of full scale")
        record(options, "vae", {"error": error, "batch": options.vae_batch, "curve": trainer.curve})

    trainer.run(loss, report, every=options.every)
    report(trainer.count)
    spread, mean = torch.std_mean(encode(vae, emoji.all()))
    vae.register_to_config(scaling_factor=1.0 / spread.item(), shift_factor=mean.item())
    return vae


def crop(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The same quarter of every picture, anywhere."""
    y, x = torch.randint(0, SIZE // 2 + 1, (2,), generator=generator).tolist()
    return pictures[:, :, y : y + SIZE // 2, x : x + SIZE // 2]


@torch.no_grad()
def encode(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Latents (N, 16, 8, 8), not scaled."""
    device = next(vae.parameters()).device
    return torch.cat([vae.encode(part.to(device)).latents.float().cpu() for part in pictures.split(128)])


@torch.no_grad()
def decode(vae: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Pictures in [-1, 1] of latents that are not scaled."""
    device = next(vae.parameters()).device
    parts = [vae.decode(part.to(device)).sample.float().cpu() for part in latents.split(128)]
    return torch.cat(parts).clamp(-1.0, 1.0)


# ------------------------------------------------------------------------------------------------------------ judge


def train_judge(emoji: Emoji, options: argparse.Namespace) -> Judge:
    """The network in whose features a drawn picture's nearest emoji is looked up; sees the emoji only, made worse."""
    judge = Judge(len(emoji))
    trainer = Trainer("judge", judge, options, options.judge_steps, 2e-3)
    generator = torch.Generator().manual_seed(1 + trainer.count)
    device = trainer.accelerator.device

    def loss(_: int) -> Tensor:
        picture, index = emoji.batch(64, 3, generator)
        return functional.cross_entropy(judge(worsened(picture, generator).to(device)).float(), index.to(device))

    trainer.run(loss)
    judge = judge.float().cpu().eval()
    index = torch.arange(len(emoji))
    shift = torch.randint(-2, 3, (len(emoji), 2), generator=generator)
    ranks = judge.ranks(worsened(emoji.shown(index, shift), generator), index, emoji.all())
    record(options, "judge", hits(ranks) | {"curve": trainer.curve})
    save_file(
        {name: tensor.half() for name, tensor in judge.state_dict().items()}, options.output / "judge.safetensors"
    )
    return judge


# ------------------------------------------------------------------------------------------------------ transformer


class CountedAttention:
    """Joint attention in which the last token of the text stands for many equal ones.

    The pipeline appends `max_sequence_length` tokens of T5, here zeros, to the text. Equal tokens stay equal in every
    block, and n of them weigh in a softmax as one whose score is log n higher: training needs only one.
    """

    def __init__(self) -> None:
        self.log_count = torch.zeros(1)

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Any:
        def joint(of_picture: nn.Module, of_text: nn.Module, *norms: nn.Module | None) -> Tensor:
            parts = (of_picture(hidden_states), of_text(encoder_hidden_states))
            heads = [part.unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in parts]
            return torch.cat([norm(part) if norm else part for norm, part in zip(norms, heads, strict=True)], dim=2)

        query = joint(attn.to_q, attn.add_q_proj, attn.norm_q, attn.norm_added_q)
        key = joint(attn.to_k, attn.add_k_proj, attn.norm_k, attn.norm_added_k)
        value = joint(attn.to_v, attn.add_v_proj, None, None)
        scores = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5
        count = self.log_count[:, None, None, None].expand(*scores.shape[:3], 1)
        weights = (scores + functional.pad(count, (scores.shape[3] - 1, 0))).softmax(dim=-1)
        mixed = (weights.to(value) @ value).transpose(1, 2).flatten(2)
        picture, text = mixed.split([hidden_states.shape[1], encoder_hidden_states.shape[1]], dim=1)
        return attn.to_out[0](picture), text if attn.context_pre_only else attn.to_add_out(text)


def denoiser(tokenizer: CLIPTokenizer, options: argparse.Namespace) -> nn.ModuleDict:
    """Both text encoders and the transformer."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=options.patch,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=options.layers,
        attention_head_dim=options.width // options.heads,
        num_attention_heads=options.heads,
        joint_attention_dim=sum(TEXT_WIDTHS),
        caption_projection_dim=options.width,
        pooled_projection_dim=2 * sum(TEXT_WIDTHS),
        pos_embed_max_size=8 // options.patch,
        qk_norm="rms_norm",
    )
    encoders = {f"text_{i}": text_encoder(tokenizer, width, 2 * width) for i, width in enumerate(TEXT_WIDTHS)}
    return nn.ModuleDict({**encoders, "transformer": transformer})


def embed(networks: nn.ModuleDict, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the pipeline makes of a caption: a row for each token and one zero row, and the pooled vector."""
    outputs = [networks[f"text_{i}"](ids, output_hidden_states=True) for i in range(len(TEXT_WIDTHS))]
    tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return functional.pad(tokens, (0, 0, 0, 1)), torch.cat([output.text_embeds for output in outputs], dim=-1)


def assemble(vae: AutoencoderTiny, tokenizer: CLIPTokenizer, networks: nn.ModuleDict, shift: float) -> Any:
    """The pipeline."""
    silence, silent_tokenizer = silent_t5()
    return StableDiffusion3Pipeline(
        transformer=networks["transformer"],
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=vae,
        text_encoder=networks["text_0"],
        tokenizer=tokenizer,
        text_encoder_2=networks["text_1"],
        tokenizer_2=tokenizer,
        text_encoder_3=silence,
        tokenizer_3=silent_tokenizer,
    )


def caption_table(emoji: Emoji, tokenizer: CLIPTokenizer) -> Tensor:
    """Token numbers (N, 20, T) of the captions that each emoji is trained with."""
    captions = [
        caption for name, kind in zip(emoji.names, emoji.kinds, strict=True) for caption in variants(name, kind)
    ]
    ids = tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
    return ids.unflatten(0, (len(emoji), -1))


def moved_latents(vae: AutoencoderTiny, emoji: Emoji, reach: int) -> Tensor:
    """Scaled latents (N, S, 16, 8, 8) of every emoji, moved by up to `reach` pixels both ways."""
    index, steps = torch.arange(len(emoji)), range(-reach, reach + 1)
    shifts = [torch.tensor([y, x]).expand(len(emoji), 2) for y in steps for x in steps]
    latents = [encode(vae, emoji.shown(index, shift)) for shift in tqdm(shifts, desc="latents")]
    return (torch.stack(latents, dim=1) - vae.config.shift_factor) * vae.config.scaling_factor


def train_denoiser(emoji: Emoji, vae: AutoencoderTiny, judge: Judge, options: argparse.Namespace) -> Any:
    """Text encoders and transformer together, on latents encoded once; returns the assembled pipeline."""
    tokenizer = word_tokenizer(emoji.names + emoji.kinds)
    networks = denoiser(tokenizer, options)
    trainer = Trainer("flow", networks, options, options.flow_steps, options.flow_rate)
    device = trainer.accelerator.device
    generator = torch.Generator().manual_seed(3 + trainer.count)
    pipe = assemble(vae, tokenizer, networks, options.shift)
    latents, ids = moved_latents(vae, emoji, options.reach), caption_table(emoji, tokenizer)
    attention, usual = CountedAttention(), JointAttnProcessor2_0()
    batch = options.batch

    def loss(_: int) -> Tensor:
        index = torch.randint(len(emoji), (batch,), generator=generator)
        clean = latents[index, torch.randint(latents.shape[1], (batch,), generator=generator)]
        row = torch.randint(ids.shape[1], (batch,), generator=generator)
        tokens, pooled = embed(networks, ids[index, row].to(device))
        share = torch.rand(batch, generator=generator)  # half of a batch has the usual padding, the rest less
        attention.log_count = (torch.tensor(float(PADDING)).log() * (2.0 * share).clamp(max=1.0)).to(device)
        time = torch.randn(batch, generator=generator).sigmoid()
        level, noise = time[:, None, None, None], torch.randn(clean.shape, generator=generator)
        noised = ((1.0 - level) * clean + level * noise).to(device)
        velocity = networks["transformer"](noised, tokens, pooled, 1000.0 * time.to(device)).sample.float()
        return (velocity - (noise - clean).to(device)).square().mean()

    def report(step: int) -> None:
        networks["transformer"].set_attn_processor(usual)
        scores = {k: round(v, 3) for k, v in retrieval(pipe, judge, emoji, 100, 20).items()}
        networks["transformer"].set_attn_processor(attention)
        tqdm.write(f"transformer, step {step}: 100 names, 20 Euler steps: {scores}")

    networks["transformer"].set_attn_processor(attention)
    trainer.run(loss, report, every=options.every)
    networks["transformer"].set_attn_processor(usual)
    record(options, "flow", {"batch": batch, "reach": options.reach, "curve": trainer.curve})
    return pipe


@torch.no_grad()
def draw(pipe: Any, names: list[str], steps: int, guidance: float = 3.0, seed: int = 0) -> Tensor:
    """Pictures (N, 3, 64, 64) in [-1, 1], each from noise of its own."""
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(names), 100):
        part = names[start : start + 100]
        generator = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        options = {"num_inference_steps": steps, "guidance_scale": guidance, "max_sequence_length": 16}
        out = pipe(part, generator=generator, output_type="pt", **options)
        pictures.append(out.images.float().cpu() * 2.0 - 1.0)
    return torch.cat(pictures)


def retrieval(pipe: Any, judge: Judge, emoji: Emoji, number: int, steps: int) -> dict[str, float]:
    """How often the emoji asked for is the nearest of all to what was drawn, for names spread evenly."""
    asked = torch.arange(0, len(emoji), max(1, len(emoji) // number))
    pictures = draw(pipe, [emoji.names[i] for i in asked], steps)
    return hits(judge.ranks(pictures, asked, emoji.all()))


def forget(path: Path, key: str) -> None:
    """Remove a key from a JSON file."""
    content = json.loads(path.read_text())
    content.pop(key, None)
    path.write_text(json.dumps(content, indent=2) + "\n")


def export(pipe: Any, folder: Path) -> None:
    """Write the pipeline, weights in half precision except the text encoders', which Transformers would not widen."""
    for module in (pipe.transformer, pipe.vae):
        module.half()
    for module in (pipe.text_encoder, pipe.text_encoder_2, pipe.text_encoder_3):
        module.float()
    pipe.save_pretrained(folder, safe_serialization=True)
    forget(folder / "vae/config.json", "block_out_channels")  # the class writes a key that it then warns of
    # Transformers 4 fails at an empty list of tokens, and needs another package for the class without "Fast".
    forget(folder / "tokenizer_3/tokenizer_config.json", "extra_special_tokens")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"T5Tokenizer"', '"T5TokenizerFast"'))
    for module in (pipe.transformer, pipe.vae):
        module.float()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("package"), help="the unpacked npm package, or an npz file")
    add_loop_arguments(parser, precision="auto")
    parser.add_argument("--vae-steps", type=int, default=10_000)
    parser.add_argument("--vae-minutes", type=float, default=None, help="end this stage, annealed, after so long")
    parser.add_argument("--vae-batch", type=int, default=16)
    parser.add_argument("--judge-steps", type=int, default=1500)
    parser.add_argument("--judge-minutes", type=float, default=None)
    parser.add_argument("--flow-steps", type=int, default=20_000)
    parser.add_argument("--flow-minutes", type=float, default=None)
    parser.add_argument("--flow-rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=192, help="of the transformer")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--patch", type=int, default=1)
    parser.add_argument("--shift", type=float, default=1.0, help="of the scheduler's noise levels")
    parser.add_argument("--reach", type=int, default=1, help="pixels by which the pictures to be learned are moved")
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--names", type=int, default=400, help="number of names of the final figure; 0 for none")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    set_seed(0)
    emoji = load_emoji(options.data)
    record(options, "setting", {"device": device_name(options), "emoji": len(emoji)})
    vae = train_autoencoder(emoji, options)
    judge = train_judge(emoji, options)
    pipe = train_denoiser(emoji, vae, judge, options)
    export(pipe, options.output / "pipeline")
    if options.names:
        scores = retrieval(pipe, judge, emoji, options.names, 50)
        record(options, "retrieval, 50 Euler steps, guidance 3", scores)
        print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
