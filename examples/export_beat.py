"""Writes Beat, the ECG tokenizer, as a repository of its own: weights, code, preprocessing and a card. It loads without
the rest of HeartcareGPT.

    python examples/export_beat.py --model . --output BEAT
    python examples/export_beat.py --model . --output BEAT --push-to-hub USER/Beat
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import HfApi
from transformers import AutoFeatureExtractor

from heartcare import BeatModel
from heartcare.version_heartcare import HEARTCARE_VERSION

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: feature-extraction
tags:
- ecg
- electrocardiogram
- tokenizer
- codec
- custom_code
---

# Beat, the ECG tokenizer of HeartcareGPT

Twelve leads in, {bits:g} bits/s out, and back again in mV: {queries} latents of {levels} codes for each {seconds:g} s,
and one gain for the recording. {parameters:.1f} M parameters. Method: Heartcare Suite (arXiv 2506.05831), section 3.2;
code and weights are our own. Written by heartcare {version}. **Not for clinical use.**

```python
import numpy as np
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained("{name}", trust_remote_code=True)
beat = AutoModel.from_pretrained("{name}", trust_remote_code=True)
ecg = np.random.default_rng(0).normal(0, 0.2, size=(12, 5000))  # mV; or the path of a WFDB record
inputs = extractor(ecg, sampling_rate=500, units="mV", return_tensors="pt")
tokens = beat.encode(**inputs)
print(tokens.codes.shape, tokens.gain, beat.decode(tokens.codes, tokens.gain).shape)
```

The feature extractor orders the leads by name, makes mV of any unit, masks what is absent, cleans, and resamples to
{rate} Hz. `beat.forecast(**inputs)` continues the recording; `beat.stream(extractor, sampling_rate=500)` tokenises one
that still goes on. The card of HeartcareGPT has the errors after decoding, by `heartcare.studies.beat_fidelity`.
"""


def card(model: BeatModel, name: str) -> str:
    """Returns the card of the repository that is called `name`, in Markdown."""
    config = model.config
    seconds = config.segment_length / config.sampling_rate
    return CARD.format(
        name=name,
        version=HEARTCARE_VERSION,
        bits=model.quantizer.num_levels * np.log2(config.codebook_size) * config.num_queries / seconds,
        queries=config.num_queries,
        levels=config.num_levels,
        seconds=seconds,
        rate=config.sampling_rate,
        parameters=sum(each.numel() for each in model.parameters()) / 1e6,
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="a HeartcareGPT or Beat repository")
    parser.add_argument("--output", required=True)
    parser.add_argument("--push-to-hub", metavar="REPO")
    args = parser.parse_args(argv)
    output = Path(args.output)
    model = BeatModel.from_pretrained(args.model, dtype=torch.float32)
    model.config.name_or_path = ""  # a path of this machine means nothing to others
    model.save_pretrained(output)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    # The whole processor is not in this repository.
    extractor.auto_map = {"AutoFeatureExtractor": "extraction_heartcare.BeatFeatureExtractor"}
    extractor.save_pretrained(output)
    (output / "README.md").write_text(card(model, args.push_to_hub or str(args.output)), encoding="utf-8")
    print(f"{output}: {', '.join(sorted(path.name for path in output.iterdir() if path.is_file()))}")
    if args.push_to_hub:
        api = HfApi()
        api.create_repo(args.push_to_hub, exist_ok=True)
        print(api.upload_folder(repo_id=args.push_to_hub, folder_path=output))


if __name__ == "__main__":
    main()
