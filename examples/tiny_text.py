"""The text encoders of a tiny Stable Diffusion 3: two of CLIP, with a tokenizer made from the captions, and no T5."""

from __future__ import annotations

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tiny_emoji import WORD

MAX_TOKENS = 11
TEXT_WIDTHS = (96, 32)
PADDING = 256  # tokens of T5, by default


def word_tokenizer(captions: list[str]) -> CLIPTokenizer:
    """A CLIP tokenizer in whose vocabulary every word of the captions is one token."""
    words = [word for caption in captions for word in WORD.findall(caption)]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = sorted(set("".join(words)))
    learner = trainers.BpeTrainer(
        vocab_size=100_000, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False
    )
    bpe.train_from_iterator(sorted(words), learner)
    model = json.loads(bpe.to_str())["model"]
    vocabulary = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters), *model["vocab"]])
    tokens = [*vocabulary, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[tuple(pair) for pair in model["merges"]],
        model_max_length=MAX_TOKENS,
    )


def text_encoder(tokenizer: CLIPTokenizer, width: int, projection: int) -> CLIPTextModelWithProjection:
    end = tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
        hidden_size=width,
        projection_dim=projection,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
    )
    return CLIPTextModelWithProjection(config)


def silent_t5() -> tuple[T5EncoderModel, T5TokenizerFast]:
    """The third text encoder, which the pipeline cannot be loaded without: it answers zero whatever the text."""
    config = T5Config(vocab_size=3, d_model=sum(TEXT_WIDTHS), d_kv=1, d_ff=1, num_layers=1, num_heads=1)
    encoder = T5EncoderModel(config)
    nn.init.zeros_(encoder.shared.weight)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return encoder.eval(), T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=PADDING)
