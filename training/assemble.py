"""Assembles the untrained default model: a BPE tokenizer trained on the questions of a data set built by HeartAgent, a
small LM and ViT, and Beat.

python -m heartcare.training.assemble --data runs/heartcare400k --beat runs/beat --output runs/init
"""

import argparse
import tempfile

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, SiglipVisionConfig, SiglipVisionModel

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .data import HeartcareData

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
"""


VISION = SiglipVisionConfig(
    image_size=128,
    patch_size=16,
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=3,
    num_attention_heads=4,
    vision_use_head=False,
)


def train_tokenizer(texts, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: any text can be written, and what the templates say takes few tokens."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--beat", default="runs/beat")
    parser.add_argument(
        "--vision", help="folder of a ViT trained by heartcare.training.vision; a random one of that shape by default"
    )
    parser.add_argument("--output", default="runs/init")
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    data = HeartcareData(args.data, "train", "", None)
    texts = [text for item in data.items for q in item["questions"] for text in (q.question, q.answer)]
    tokenizer = train_tokenizer(texts, args.vocab_size)
    language_model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
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
