"""Assembles the untrained default model: a BPE tokenizer trained on the questions of a data set built by HeartAgent, a
small language model, a small ViT, and Beat.

    python -m heartcare.training.assemble --data DATA --beat runs/beat --vision runs/vision --output runs/init
"""

import argparse
import tempfile
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, SiglipVisionModel

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .data import HeartcareData
from .shapes import VISION, language_model_config

MARKS = {"user": "<|user|>", "assistant": "<|assistant|>", "end": "<|end|>", "pad": "<|pad|>"}

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- set content = [{'type': 'text', 'text': message['content']}] if message['content'] is string else message['content'] -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>' -}}
{% generation %}{%- for part in content -%}{{- part['text'] -}}{%- endfor -%}{{- '<|end|>' -}}{% endgeneration %}
{%- else -%}
{{- '<|user|>' -}}
{%- for part in content -%}
{%- if part['type'] == 'ecg' -%}{{- '<|ecg_start|><|ecg|><|ecg_end|>' -}}
{%- elif part['type'] == 'image' -%}{{- '<|image_start|><|image|><|image_end|>' -}}
{%- else -%}{{- part['text'] -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""  # noqa: E501


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE, which can write any text and needs few tokens for the words of the questions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(MARKS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=MARKS["end"],
        pad_token=MARKS["pad"],
        padding_side="left",
        model_max_length=2048,
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--beat", default="runs/beat")
    parser.add_argument(
        "--vision", help="folder of a ViT trained by heartcare.training.vision; by default a random one of that shape"
    )
    parser.add_argument("--output", default="runs/init")
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    data = HeartcareData(args.data, "train", "", None)
    texts = [text for group in data.groups for q in group.questions for text in (q.question, q.answer)]
    tokenizer = train_tokenizer(texts, args.vocab_size)
    language_model = LlamaForCausalLM(
        language_model_config(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    )
    vision = SiglipVisionModel.from_pretrained(args.vision) if args.vision else SiglipVisionModel(VISION)
    with tempfile.TemporaryDirectory() as text:
        tokenizer.save_pretrained(text)
        language_model.save_pretrained(text)
        parts = {"text": text, "vision": vision, "beat": args.beat}
        model = HeartcareForConditionalGeneration.from_backbones(**parts)
        processor = HeartcareProcessor.from_backbones(**parts, chat_template=CHAT_TEMPLATE)
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)
    print(f"{len(processor.tokenizer)} tokens, {model.num_parameters():,} parameters -> {args.output}")


if __name__ == "__main__":
    main()
