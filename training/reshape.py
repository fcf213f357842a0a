"""Gives a trained model other parts, keeping what its language model has learnt: another vocabulary, narrower layers,
another Beat with its head for findings, and tokens of evidence.

    python -m heartcare.training.reshape --model . --data DATA --beat runs/findings --vocab-size 4000 \\
        --intermediate-size 480 --evidence-tokens 4 --output runs/reshaped

The embedding of a new word is the mean of the embeddings of its old pieces. Each MLP keeps its hidden units with the
largest weights. The result is to be trained further.
"""

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from heartcare.agent.wording import WordingBuilder
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .assemble import CHAT_TEMPLATE, train_tokenizer
from .data import HeartcareData

QUESTIONS = 40_000  # number of questions in HeartAgent's wordings that the tokenizer learns from
QUESTION_STEP = 8  # the tokenizer also learns from every eighth question of the data set


def texts_of(folder: str, seed: int) -> list[str]:
    """Returns texts for the tokenizer: questions and answers of a data set, and questions in many wordings."""
    data = HeartcareData(folder, "train", "", None)
    questions = [question for group in data.groups for question in group.questions]
    texts = [text for each in questions[::QUESTION_STEP] for text in (each.question, each.answer)]
    builder = WordingBuilder(np.random.default_rng(seed))
    return texts + [builder.question()[0] for _ in range(QUESTIONS)]


@torch.no_grad()
def embeddings_of(
    new: PreTrainedTokenizerBase, old: PreTrainedTokenizerBase, embeddings: torch.Tensor, size: int
) -> torch.Tensor:
    """Returns the embeddings of another tokenizer's words, (size, width): the mean of the embeddings of their old
    pieces.

    Args:
        new: The other tokenizer.
        old: The tokenizer of the embeddings.
        embeddings: Embeddings (old words, width).
        size: Number of rows wanted.
    """
    rows = embeddings.mean(0).repeat(size, 1)
    special = set(new.all_special_tokens)
    for word, place in new.get_vocab().items():
        if word in special:
            pieces = [old.convert_tokens_to_ids(word)]
        else:
            pieces = old(new.convert_tokens_to_string([word]), add_special_tokens=False)["input_ids"]
        if pieces:
            rows[place] = embeddings[pieces].mean(0)
    return rows


def reshaped(model: LlamaForCausalLM, tokens: torch.Tensor, intermediate_size: int) -> LlamaForCausalLM:
    """Returns a language model with other embeddings (words, width) and narrower MLPs."""
    source = copy.deepcopy(model)
    for layer in source.model.layers:
        narrow(layer, intermediate_size)
    config = copy.deepcopy(model.config)
    config.vocab_size, config.intermediate_size = len(tokens), intermediate_size
    result = LlamaForCausalLM(config)
    weights = source.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = tokens
    result.load_state_dict(weights)
    return result


@torch.no_grad()
def narrow(layer: nn.Module, size: int) -> None:
    """Keeps the hidden units of a layer's MLP that have the largest weights, in their order."""
    mlp = layer.mlp
    weight = mlp.gate_proj.weight.norm(dim=1) * mlp.up_proj.weight.norm(dim=1) * mlp.down_proj.weight.norm(dim=0)
    kept = weight.topk(size).indices.sort().values
    for name, dim in (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)):
        linear = getattr(mlp, name)
        linear.weight = nn.Parameter(linear.weight.index_select(dim, kept))
    mlp.gate_proj.out_features = mlp.up_proj.out_features = mlp.down_proj.in_features = size


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="model whose language model, ViT and image projector are kept")
    parser.add_argument("--data", required=True, help="folder of a data set, whose words the tokenizer learns")
    parser.add_argument("--beat", required=True, help="model with the Beat and the head for findings")
    parser.add_argument("--vocab-size", type=int, default=4000)
    parser.add_argument("--intermediate-size", type=int, default=480)
    parser.add_argument("--evidence-tokens", type=int, default=4)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    old, read = (HeartcareForConditionalGeneration.from_pretrained(each) for each in (args.model, args.beat))
    old_tokenizer = HeartcareProcessor.from_pretrained(args.model).tokenizer
    tokenizer = train_tokenizer(texts_of(args.data, args.seed), args.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        # The processor adds the placeholders to the tokenizer, so that their embeddings can be carried over, too.
        parts = {"text": folder, "vision": old.vision_tower, "beat": read.beat}
        processor = HeartcareProcessor.from_backbones(**parts, chat_template=CHAT_TEMPLATE)
        words = processor.tokenizer
        tokens = embeddings_of(words, old_tokenizer, old.get_input_embeddings().weight, len(words))
        language_model = reshaped(old.language_model, tokens, args.intermediate_size)
        language_model.config.eos_token_id, language_model.config.pad_token_id = words.eos_token_id, words.pad_token_id
        language_model.save_pretrained(folder)
        words.save_pretrained(folder)
        model = HeartcareForConditionalGeneration.from_backbones(**parts)
    model.image_projector.load_state_dict(old.image_projector.state_dict())
    read.config.evidence_tokens = args.evidence_tokens
    model.take_heads(read)
    if old.config.picture_hidden_size:  # of the ViT that is kept
        model.add_picture_head(old.config.picture_hidden_size)
        model.picture_head.load_state_dict(old.picture_head.state_dict())
    processor.evidence_tokens, processor.write_measurements = args.evidence_tokens, False
    if old.config.asked and not read.config.asked:
        model.add_question_reader(old.config.asked)
        model.question_reader.load_state_dict(old.question_reader.state_dict())
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)
    print(f"{len(words)} words, {model.num_parameters():,} parameters -> {args.output}")


if __name__ == "__main__":
    main()
