"""Reads one ECG: prints a report and answers, and draws the ECG on standard paper with the answers below it.

python examples/read_ecg.py examples/ecgs/right_bundle_branch_block
python examples/read_ecg.py my_ecg.csv --sampling-rate 500 --units uV --question "Is there atrial fibrillation on this
ECG?" python examples/read_ecg.py hospital.dcm python examples/read_ecg.py scanned.png
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from heartcare.agent.readers import read_ecg as read_any
from heartcare.agent.render import add_text, draw_ecg

QUESTIONS = ["What is the rhythm?", "Is this a normal ECG?"]
ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "record", help="a WFDB record, .npy, .npz, .csv, any other ECG file that HeartAgent reads, or a picture"
    )
    parser.add_argument("--question", action="append", help=f"may be given several times; default: {QUESTIONS}")
    parser.add_argument("--sampling-rate", type=float, help="Hz, for files that do not say it")
    parser.add_argument("--lead-names", help="comma-separated, for files that do not say it")
    parser.add_argument("--units", help="mV, uV or V, for files that do not say it")
    parser.add_argument("--model", default=str(ROOT))
    parser.add_argument("--output", default="out/ecg.png", help="the drawing")
    args = parser.parse_args(argv)

    started = time.perf_counter()
    processor = AutoProcessor.from_pretrained(args.model, trust_remote_code=True)
    model = AutoModel.from_pretrained(args.model, trust_remote_code=True).eval()
    loaded = time.perf_counter()

    if args.record.lower().endswith((".png", ".jpg", ".jpeg")):
        page = Image.open(args.record).convert("RGB")
        part, warnings = {"type": "image", "image": page}, []
    else:
        names = args.lead_names.split(",") if args.lead_names else None
        part = {
            "type": "ecg",
            "path": args.record,
            "sampling_rate": args.sampling_rate,
            "lead_names": names,
            "units": args.units,
        }
        extractor = processor.feature_extractor
        try:
            if Path(args.record).suffix.lower() not in ("", ".hea", ".dat", ".npy", ".npz", ".csv"):
                part = {"type": "ecg", **read_any(args.record).as_input()}
            signal, lead_mask, quality = extractor.prepare(*extractor.fetch_ecg(part))
        except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
            sys.exit(f"Cannot read this ECG. {error}")
        page = draw_ecg(signal, extractor.sampling_rate, header=Path(args.record).name, lead_mask=lead_mask)
        warnings = quality["warnings"]

    answers = []
    for question in ["Write a report of this ECG.", *(args.question or QUESTIONS)]:
        message = {"role": "user", "content": [part, {"type": "text", "text": question}]}
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        inputs = processor.apply_chat_template([message], **options)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=120, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        answer = processor.decode(ids[0], skip_special_tokens=True).strip()
        if model.config.prediction_token_id in ids and "input_values" in inputs:
            forecast = model.forecast(**inputs, seconds=2)[0]
            answer = f"The next 2 s, {tuple(forecast.shape)} in mV, peak {forecast.abs().max():.2f} mV."
        answers.append((question, answer))
        print(f"{question}\n    {answer}")
    for warning in warnings:
        print(f"Note: {warning}")
    done = time.perf_counter()

    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    add_text(page, [*answers, ("Not for clinical use.", "")]).save(output)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(
        f"Drawn to {output}. Loading took {loaded - started:.1f} s, {len(answers)} answers {done - loaded:.1f} s, {memory:.2f} GiB of memory."
    )
    print("Not for clinical use.")


if __name__ == "__main__":
    main()
