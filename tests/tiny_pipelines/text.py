"""Tokenizers made in memory and the tiny text encoders that fit them."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CLIP_WIDTH = 24  # hidden size and projection size of each CLIP text encoder
T5_WIDTH = 2 * CLIP_WIDTH  # SD3 concatenates two CLIP embeddings and pads them to the width of T5
SPACE = "\u2581"


def byte_alphabet() -> list[str]:
    """One visible character for each of the 256 byte values, as byte-level BPE vocabularies have them."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in visible] + [chr(0x100 + i) for i in range(256 - len(visible))]


@functools.cache
def clip_vocabulary() -> dict[str, int]:
    """Every byte, every byte as the end of a word, and the two special tokens: 514 ids."""
    letters = byte_alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def clip_tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer without merges: one token per byte."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return CLIPTokenizer(vocab=clip_vocabulary(), merges=[], model_max_length=max_length)
    with tempfile.TemporaryDirectory() as folder:  # transformers 4 reads its vocabulary from files only
        vocab, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps(clip_vocabulary()), encoding="utf-8")
        merges.write_text("#version: 0.2\n", encoding="utf-8")
        return CLIPTokenizer(str(vocab), str(merges), model_max_length=max_length)


def clip_text_config(**changes: Any) -> CLIPTextConfig:
    """Configuration of a two-layer CLIP text encoder that fits `clip_tokenizer`."""
    vocabulary = clip_vocabulary()
    sizes = {"hidden_size": CLIP_WIDTH, "projection_dim": CLIP_WIDTH, "intermediate_size": 2 * CLIP_WIDTH}
    return CLIPTextConfig(
        vocab_size=len(vocabulary),
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        num_hidden_layers=2,
        num_attention_heads=3,
        **sizes | changes,
    )


def clip_encoder() -> CLIPTextModel:
    """The CLIP text encoder of Stable Diffusion 1."""
    return CLIPTextModel(clip_text_config())


def projecting_clip_encoder() -> CLIPTextModelWithProjection:
    """The second text encoder of Stable Diffusion XL."""
    return CLIPTextModelWithProjection(clip_text_config())


def letters_tokenizer(special: tuple[str, ...], template: str, max_length: int = 32, **names: str) -> Any:
    """A unigram tokenizer with one piece per ASCII character behind its special tokens."""
    pieces = [(token, 0.0) for token in special]
    pieces += [(SPACE, -2.0), *((chr(code), -3.0) for code in range(0x21, 0x7F))]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=special.index(names["unk_token"]), byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template,
        special_tokens=[(token, special.index(token)) for token in special if token in template.split()],
    )
    inputs = ["input_ids", "attention_mask"]  # Transformers 4 would add token types, which T5 does not take
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, model_input_names=inputs, **names
    )


def t5_tokenizer(max_length: int = 32) -> Any:
    """The tokenizer of T5: `</s>` ends a text."""
    special = ("<pad>", "</s>", "<unk>")
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return letters_tokenizer(special, "$A </s>", max_length, **names)


def t5_encoder() -> transformers.T5EncoderModel:
    """A one-layer T5 encoder that fits `t5_tokenizer`."""
    config = transformers.T5Config(
        vocab_size=112,
        d_model=T5_WIDTH,
        d_kv=12,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return transformers.T5EncoderModel(config)


def language_tokenizer(max_length: int = 64) -> Any:
    """A tokenizer of a decoder-only language model such as Gemma: `<bos>` begins a text, padding is on the right."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    return letters_tokenizer(special, "<bos> $A", max_length, **names)


def gemma2() -> transformers.Gemma2Model:
    """A one-layer Gemma 2 that fits `language_tokenizer`."""
    config = transformers.Gemma2Config(
        vocab_size=112,
        hidden_size=T5_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=24,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return transformers.Gemma2Model(config)
