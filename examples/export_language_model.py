"""Writes the language model alone, as a plain transformers model for servers such as vLLM and TGI, and prompts as it
sees them, with the ECGs already in their places.

    python examples/export_language_model.py --model . --output runs/language_model
    python examples/export_language_model.py --model . --ecg RECORD --question "What is the rhythm?" --embeds prompt.pt

The second command writes `prompt_embeds` float32 (tokens, width), for servers that take them in place of text, such as
vLLM:

    vllm serve runs/language_model --enable-prompt-embeds

    content = base64.b64encode(Path("prompt.pt").read_bytes()).decode()
    client = OpenAI(base_url="http://localhost:8000/v1", api_key="-")
    client.completions.create(model="runs/language_model", prompt="", extra_body={"prompt_embeds": content})
"""

import argparse
from typing import Any

import torch

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.parts_heartcare import as_part
from heartcare.version_heartcare import HEARTCARE_VERSION


def prompt_embeds(
    model: HeartcareForConditionalGeneration, processor: HeartcareProcessor, ecg: Any, question: str
) -> torch.Tensor:
    """Returns the embeddings (tokens, width) of a question about one ECG or picture, in any form that the pipeline
    takes.
    """
    message = {"role": "user", "content": [as_part(ecg), {"type": "text", "text": question}]}
    inputs = processor.apply_chat_template(
        [message], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return model.get_prompt_embeds(**inputs)[0]


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--output", help="folder for the language model and its tokenizer")
    parser.add_argument("--ecg", help="a record or a picture")
    parser.add_argument("--question", default="Write a report of this ECG.")
    parser.add_argument("--embeds", help="file for the prompt")
    args = parser.parse_args(argv)
    if not args.output and not (args.ecg and args.embeds):
        parser.error("give --output, or --ecg and --embeds.")

    model = HeartcareForConditionalGeneration.from_pretrained(args.model).eval()
    processor = HeartcareProcessor.from_pretrained(args.model)
    if args.output:
        model.language_model.config.heartcare_version = HEARTCARE_VERSION
        model.language_model.save_pretrained(args.output)
        model.generation_config.save_pretrained(args.output)
        processor.tokenizer.save_pretrained(args.output)
        kind = type(model.language_model).__name__
        print(f"{model.language_model.num_parameters():,} parameters, {kind} -> {args.output}")
    if args.ecg and args.embeds:
        embeds = prompt_embeds(model, processor, args.ecg, args.question)
        torch.save(embeds, args.embeds)
        print(f"{tuple(embeds.shape)} -> {args.embeds}")


if __name__ == "__main__":
    main()
