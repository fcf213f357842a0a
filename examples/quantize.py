"""Loads the language model in int8 (torchao) or 4 bits (bitsandbytes), and leaves the encoders and projectors alone;
measures memory and the change of the answers.

    pip install -e ".[quantize]"
    python examples/quantize.py --model . --data HEARTCARE_400K --limit 300

Quantization saves memory where a language model has billions of parameters; the default checkpoint, which shows it
here, has no need of it. The script asks closed questions of the test split, and prints a Markdown table.
"""

import argparse

import torch
from transformers import BitsAndBytesConfig

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.training.data import HeartcareData

LEFT_ALONE = [
    "beat",
    "vision_tower",
    "signal_projector",
    "image_projector",
    "evidence_projector",
    "findings_head",
    "picture_head",
    "question_reader",
    "lm_head",
]


def quantized(name: str, kind: str) -> HeartcareForConditionalGeneration:
    """Loads a HeartcareGPT repository with its language model's matrices in "int8" or "nf4", or as they are ("none").

    Raises: `ValueError` for another kind.
    """
    config = None
    if kind == "int8":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        config = TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=LEFT_ALONE)
    elif kind == "nf4":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=LEFT_ALONE,
        )
    elif kind != "none":
        raise ValueError(f"kind must be 'none', 'int8' or 'nf4', got {kind!r}.")
    return HeartcareForConditionalGeneration.from_pretrained(
        name, dtype=torch.float32, quantization_config=config
    ).eval()


def megabytes(part: torch.nn.Module) -> float:
    """Returns the megabytes of a module's weights."""
    return sum(stored_bytes(each) for each in part.parameters()) / 1e6


def stored_bytes(tensor: torch.Tensor) -> int:
    """Returns the bytes of a tensor, with the scales of a quantized one."""
    if hasattr(tensor, "__tensor_flatten__") and type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return sum(stored_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    state = getattr(tensor, "quant_state", None)
    return tensor.numel() * tensor.element_size() + (
        state.absmax.numel() * state.absmax.element_size() if state is not None else 0
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int, default=300, help="number of questions")
    args = parser.parse_args(argv)

    processor = HeartcareProcessor.from_pretrained(args.model)
    data = HeartcareData(args.data, "test", args.cache, processor, pictures=1)
    questions = [
        (group.records[0], question)
        for group in data.groups
        if group.modality == ("signal",)
        for question in group.questions
        if question.task == "closed-qa"
    ][: args.limit]
    inputs = [
        {
            "signal": data.signal(record),
            "sampling_rate": processor.feature_extractor.sampling_rate,
            "units": "mV",
            "question": question.question,
            "options": question.options,
        }
        for record, question in questions
    ]
    columns = ("language model", "its weights, MB", "of them in layers, MB", "accuracy", "mean change of a probability")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    before = None
    for kind in ("none", "int8", "nf4"):
        model = quantized(args.model, kind)
        pipe = ECGInterpretationPipeline(model=model, processor=processor, device=None if kind == "nf4" else "cpu")
        answers = pipe(inputs, batch_size=16)
        right = [answer["text"].lower() in question.answer.lower() for answer, (_, question) in zip(answers, questions)]
        shares = torch.cat([torch.tensor(list(answer["probabilities"].values())) for answer in answers])
        before = shares if before is None else before
        sizes = megabytes(model.language_model), megabytes(model.language_model.model.layers)
        accuracy, change = sum(right) / len(right), (shares - before).abs().mean()
        print(f"| {kind} | {sizes[0]:.1f} | {sizes[1]:.1f} | {accuracy:.3f} | {change:.4f} |", flush=True)


if __name__ == "__main__":
    main()
