"""The checkpoint at the root: its size, its honesty about the ECG, and that it reads real ones."""

import importlib.util
import json
import re
import time

import numpy as np
import pytest
import torch
from transformers import AutoModel

from heartcare.agent.lexicon import find_statements
from heartcare.agent.measure import match_peaks
from heartcare.agent.simulate import simulate_ecg
from heartcare.bench.metrics.probability import auc
from heartcare.bench.models import HeartcareModel
from heartcare.bench.probe import fit_probe
from heartcare.delineation_heartcare import find_r_peaks
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.training.lead_patterns import PATTERNS

pytestmark = pytest.mark.checkpoint
PARTS = ("Rhythm", "Axis", "Waveform", "Diagnosis", "Ectopic beats", "Recording")


def test_size_and_format(root):
    files = [*root.glob("*.safetensors"), *root.glob("*/*.safetensors")]
    assert len(files) >= 3 and sum(file.stat().st_size for file in files) <= 32 * 2**20
    assert (root / "model.safetensors").stat().st_size <= 14 * 2**20
    for file in [*root.glob("*.json"), *root.glob("beat*/*.json")]:
        assert "_name_or_path" not in file.read_text(), "a place on the machine that trained it"
    assert not list(root.glob("*.bin")) + list(root.glob("*.pt")) + list(root.glob("*.pkl"))


def answer(model, processor, inputs, **options):
    ids = model.generate(**inputs, **{"max_new_tokens": 60, "do_sample": False, **options})
    return processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@torch.inference_mode()
def test_answers_in_time(model, processor, ask):
    ecg = simulate_ecg("SR", "NORM", seed=1)
    answer(model, processor, ask(ecgs=[ecg]))
    inputs = ask("Write a report of this ECG.", ecgs=[ecg])
    started = time.process_time()  # of all threads, whatever else the machine does
    answer(model, processor, inputs)
    assert time.process_time() - started < 2


@torch.inference_mode()
def test_forecast_question_routes_to_beat(model, processor, ask):
    inputs = ask("Predict the signal of the next 2 seconds.", ecgs=[simulate_ecg("SR", "NORM", seed=1)])
    ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert model.config.prediction_token_id in ids
    assert processor.decode(ids[:1]) == "<prediction>"


@torch.no_grad()
def test_beat_keeps_the_beats(beat, signals):
    """Simulated ECGs, with other seeds than those in training, keep their beats."""
    tokens = beat.encode(signals)
    decoded = beat.decode(tokens.codes, tokens.gain)
    assert torch.equal(decoded, beat(signals).reconstruction)
    for before, after in zip(signals.numpy(), decoded.numpy()):
        peaks = find_r_peaks(before, 100)
        assert match_peaks(peaks, find_r_peaks(after, 100), 5) >= 0.9 * len(peaks)
    assert (100 * (decoded - signals).norm(dim=(1, 2)) / signals.norm(dim=(1, 2)) < 40).all()  # PRD, %


@pytest.fixture
def real(shared):
    pytest.importorskip("pyarrow.parquet")
    spec = importlib.util.spec_from_file_location("ecgpack", shared / "ecgpack.py")
    ecgpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ecgpack)
    return ecgpack.read(shared / "ptbxl_100hz/fold09.parquet")


def cleaned(signal, records) -> torch.Tensor:
    """Returns the cleaned signals of some records, (records, 12, 1000) mV."""
    extractor = BeatFeatureExtractor()
    inputs = ({"ecg": signal(i), "sampling_rate": 100, "units": "mV"} for i in records)
    return torch.stack([torch.from_numpy(extractor.prepare(each)[0]) for each in inputs])


def test_beat_of_four_times_the_bits(root, real, beat):
    """The PRD of 20 real ECGs of the validation fold falls with more bits, and with the search for better codes."""
    ecgs = cleaned(real[1], range(20))
    finer = AutoModel.from_pretrained(root, subfolder="beat360", trust_remote_code=True).eval()
    assert type(finer).__name__ == "BeatModel" and finer.config.num_levels * 9 * 10 == 360

    def prd(of, refine):
        tokens = of.encode(ecgs, refine=refine)
        with torch.no_grad():
            decoded = of.decode(tokens.codes, tokens.gain)
        return (100 * (decoded - ecgs).norm(dim=(1, 2)) / ecgs.norm(dim=(1, 2))).mean()

    assert prd(finer, 20) < 16 < prd(finer, 0) < 20 < prd(beat, 20) < 27 < prd(beat, 0) < 32


@torch.no_grad()
def test_beat_restores_what_a_page_does_not_show(real, beat):
    """Parts of leads that a printed page does not show come back, in 20 real ECGs of the validation fold."""
    assert beat.config.core_level == "parallel" and beat.config.num_levels * 9 * 5 == 135
    ecgs = cleaned(real[1], range(20))
    page = torch.from_numpy(PATTERNS["3x4+II"](np.random.default_rng(0), 1000)).expand(20, -1, -1)
    tokens = beat.encode(ecgs, lead_mask=page)
    missing = (beat.decode(tokens.codes, tokens.gain) - ecgs)[~page].square().mean() / ecgs[~page].square().mean()
    assert missing.sqrt() < 0.75


@torch.no_grad()
def test_core_codes_of_beat_carry_meaning(real, beat):
    """A linear probe on the mean core latent of 300 real ECGs tells normal ones from others among 200 more, with all
    leads and with lead I alone.
    """
    meta, signal = real
    normal = torch.tensor(["NORM" in json.loads(codes) for codes in meta["scp_codes"][:500]])
    ecgs, core = cleaned(signal, range(500)), beat.quantizer.levels[0]
    one = torch.zeros(500, 12, dtype=torch.bool)
    one[:, 0] = True
    for leads, least in ((torch.ones_like(one), 0.85), (one, 0.75)):
        codes = torch.cat([beat.encode(*part).codes for part in zip(ecgs.split(50), [None] * 10, leads.split(50))])
        mean = core.decode(codes[:, 0]).mean(1)
        mean = (mean - mean[:300].mean(0)) / (mean[:300].std(0) + 1e-6)
        with torch.enable_grad():
            probe = fit_probe(mean[:300], normal[:300, None], decay=1e-2)
        assert auc(normal[300:].numpy(), probe(mean[300:])[:, 0].numpy()) > least


def test_reads_real_ecgs_and_not_its_prior(root, real):
    """P(yes) for "Is this a normal ECG?" ranks 200 real ECGs of the validation fold; with the next record's ECG it does
    not.
    """
    meta, signal = real
    reader = HeartcareModel(str(root), "cpu")
    ecgs = [{"type": "ecg", "ecg": signal(i), "sampling_rate": 100, "units": "mV"} for i in range(200)]
    scores = np.concatenate([reader.yes_probabilities([ecg], ["Is this a normal ECG?"]) for ecg in ecgs])
    normal = np.array(["NORM" in json.loads(codes) for codes in meta["scp_codes"][:200]])
    assert auc(normal, scores) > 0.8
    assert abs(auc(normal, np.roll(scores, 1)) - 0.5) < 0.15


@torch.inference_mode()
def test_reads_wfdb_records_of_ptbxl(model, processor, shared):
    """Each report has its parts, in their order, and ends by itself; no two patients need have the same."""
    reports = []
    for header in sorted((shared / "wfdb").glob("*.hea")):
        message = {
            "role": "user",
            "content": [{"type": "ecg", "path": str(header)}, {"type": "text", "text": "Write a report of this ECG."}],
        }
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        report = answer(model, processor, processor.apply_chat_template([message], **options), max_new_tokens=100)
        parts = [part.split(": ")[0] for part in re.split(r"(?<=\.) (?=[A-Z])", report)]
        assert parts == [part for part in PARTS if part in parts] and {"Rhythm", "Diagnosis"} <= {*parts}, report
        assert find_statements(report) and report.endswith("."), report
        reports.append(report)
    assert len(set(reports)) > len(reports) / 2
