"""The items that the whole model is trained on, and the packer's batches."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.paths import RECIPES
from torch.testing import assert_close

from heartcare.agent.build import Settings, build
from heartcare.agent.qa import (
    COMPARE_CLOSED,
    OTHER_PATIENT,
    REPORT,
    SAME_PATIENT,
    TOPICS,
    VERIFY,
    Labels,
    ask,
    report_text,
)
from heartcare.agent.report_styles import REQUESTS, WRITERS
from heartcare.agent.simulate import simulate_ecg
from heartcare.agent.statements import NAMES, WORDING, truth
from heartcare.ecg_heartcare import LEADS
from heartcare.measuring_heartcare import measurement_line
from heartcare.processing_heartcare import CHATML_TEMPLATE
from heartcare.training.data import HeartcareData, StreamedQuestions, notes_of
from heartcare.training.drill import WORDINGS, drill, drill_pair
from heartcare.training.items import ECGQuestions
from heartcare.training.packing import LENGTH_STEP, QuestionPacker, fill_rows
from heartcare.training.ptbxl import PTBXL
from heartcare.training.recipe import StageRecipe, read_recipe
from heartcare.training.recordings import BeatTokens, CleanedSignal, ImageSlots, LeadTiles, TrainingItem

JOINT = StageRecipe(train=["signal_projector", "image_projector", "vision_tower", "language_model"], questions=3)


def test_training_data_are_those_of_the_data_set(ptbxl_folder, built, tmp_path, processor):
    data = HeartcareData(built, "train", tmp_path / "cache", processor, pictures=6)
    truth = PTBXL(ptbxl_folder, range(1, 9), tmp_path / "ptbxl")
    assert len(data.record) == len(truth)
    for i, row in enumerate(truth.rows):
        np.testing.assert_allclose(data.signal(data.record[row["ecg_id"]]), truth.signal(i), atol=0.002)
    signals = [group for group in data.groups if group.modality == ("signal",)]
    assert len(signals) == len(truth) and all(
        {q.task for q in group.questions} >= {"report", "prediction"} for group in signals
    )
    drawn = {record for group in data.groups for m, record in zip(group.modality, group.records) if m == "image"}
    assert drawn == set(range(6)) and all(data.tiles[i].std() > 5 for i in range(6))
    pairs = [group for group in data.groups if len(group.records) == 2]
    assert pairs and all(q.task == "comparison-qa" for group in pairs for q in group.questions)
    total = sum(len(group.questions) for group in HeartcareData(built, "train", "", None).groups)
    rows = sum(
        shard["samples"]
        for shard in json.loads((built / "manifest.json").read_text())["shards"]
        if shard["name"].startswith("train")
    )
    assert total == rows
    signals_alone = HeartcareData(built, "train", tmp_path / "cache", processor, pictures=0)
    assert len(signals_alone) == len(data) and not any("image" in group.modality for group in signals_alone.groups)


def test_a_lead_that_was_not_recorded_stays_masked(tmp_path, tiny, tiny_processor):
    """Signals stay as they are in the cache, in views and in the packer's batch, also where a lead was recorded for
    part of the time.
    """
    ecg = simulate_ecg("SR", "NORM", seed=4)
    signal = ecg.signal.copy()
    signal[11] = np.nan
    signal[6, 2500:] = np.nan
    np.savez(tmp_path / "partly.npz", signal=signal, sampling_rate=500, units="mV", lead_names=list(LEADS))
    (tmp_path / "table.csv").write_text("path,fold,scp_codes\npartly.npz,1,\"{'SR': 0}\"\n")
    build(tmp_path / "table.csv", tmp_path / "built", Settings(), progress=False)
    data = HeartcareData(tmp_path / "built", "train", tmp_path / "cache", tiny_processor, pictures=1)
    whole = data.cleaned(0)
    assert whole.signal.shape == whole.lead_mask.shape == (12, 1000) and not whole.signal[~whole.lead_mask].any()
    assert not whole.lead_mask[11].any() and abs(int(whole.lead_mask[6].sum()) - 500) <= 1
    assert whole.lead_mask[[k for k in range(12) if k not in (6, 11)]].all()
    for view in range(1, 20):
        part = data.view(0, view, seed=0)
        assert part.signal.shape == part.lead_mask.shape and not part.lead_mask[11].any()
        assert not part.signal[~part.lead_mask].any()
    data.encode_signals(tiny, views=1, seed=0)
    options = {"sampling_rate": 500, "units": "mV", "return_tensors": "pt"}
    expected = tiny.beat.encode(**tiny_processor.feature_extractor(signal, **options))
    assert torch.equal(torch.from_numpy(data.tokens(0, 0).codes).long(), expected.codes[0])
    stage = StageRecipe(task="report")
    streamed = list(StreamedQuestions(str(tmp_path / "built"), "train", tiny_processor, stage))
    (item,) = (item for item in streamed if isinstance(item.recordings[0], CleanedSignal))
    batch = QuestionPacker(tiny_processor)([item])
    assert torch.equal(batch["lead_mask"][0], torch.from_numpy(whole.lead_mask))


def test_items_are_the_same_in_every_run(data):
    one, again, other = (ECGQuestions(data, JOINT, 20, seed) for seed in (0, 0, 1))
    texts = [[[q.question for q in questions[i].questions] for i in range(20)] for questions in (one, again, other)]
    assert texts[0] == texts[1] != texts[2]
    signals = ECGQuestions(data, StageRecipe(shares={"signal": 0.5, "image": 0, "pair": 0.5}), 60)
    shown = [signals[i] for i in range(60)]
    assert {type(recording) for item in shown for recording in item.recordings} == {BeatTokens}
    assert {len(item.recordings) for item in shown} == {1, 2}
    reports = ECGQuestions(data, StageRecipe(task="report", pairs=False), 20)
    assert {q.task for i in range(20) for q in reports[i].questions} == {"report"}


def test_drill_asks_what_the_statements_say(data):
    rng, topics, wordings = np.random.default_rng(0), set(), set()
    for labels in data.labels:
        there = dict(zip(NAMES, truth(labels.statements)))
        *found, report, other = drill(labels, 8, rng)
        checks = {question.question: question.answer_label[0] for question in found if question.task == "verify-qa"}
        assert len(checks) == 8 and 1 <= list(checks.values()).count("yes") <= 4
        worded = {ask(words, WORDING[name]): (words, name) for words in (VERIFY[0], *WORDINGS) for name in NAMES}
        assert all(said == ("yes" if there[worded[text][1]] else "no") for text, said in checks.items())
        wordings |= {worded[text][0] for text in checks}
        for question in found[8:]:
            (right,) = question.answer_label
            assert (
                question.task == "closed-qa" and right in labels.answers(question.topic) and len(question.options) == 4
            )
            assert (
                sum(
                    option in [TOPICS[question.topic][code] for code in labels.excluded_distractors(question.topic)]
                    for option in question.options
                )
                == 1
            )
        topics |= {question.topic for question in found[8:]}
        assert report.question in REPORT and report.answer == report_text(labels) and "years" not in report.answer
        (style,) = (style for style, requests in REQUESTS.items() if other.question in requests)
        assert style != "structured" and other.answer == WRITERS[style](labels)
    assert topics == set(TOPICS) - {"axis", "stage"}  # which these records do not tell
    assert wordings == {VERIFY[0], *WORDINGS}
    assert [q.question for q in drill(labels, 8, np.random.default_rng(1))] != [
        q.question for q in drill(labels, 8, rng)
    ]


def test_labels_answer_what_the_data_set_asks(data):
    for group in data.groups:
        for question in group.questions:
            if question.task == "open-qa" and question.answer_label:
                (record,) = group.records
                assert list(question.answer_label) in [data.labels[record].answers(topic) for topic in TOPICS]
    for topic in ("axis", "stage", "noise", "ectopy"):
        for code in TOPICS[topic]:
            labels = Labels({"IMI": 100.0}, notes={"heart_axis": "", **notes_of([code])})
            assert labels.answers(topic) == [code], topic
    assert Labels({}, notes={"heart_axis": "", **notes_of(["static_noise", "baseline_drift"])}).answers("noise") == [
        "static_noise",
        "baseline_drift",
    ]


def test_drill_of_pairs(data):
    rng, kinds = np.random.default_rng(0), set()
    for group in (group for group in data.groups if len(group.records) == 2):
        first, second = (data.labels[record] for record in group.records)
        found = drill_pair(first, second, group.questions, rng)
        asked = group.questions[0].question
        same = "patient" in asked and any(words in asked for words in SAME_PATIENT)
        for question in found:
            assert question.question.startswith(SAME_PATIENT[0] if same else OTHER_PATIENT[0])
            if question.options:
                shown = tuple(question.answer_label[0] in each.answers(question.topic) for each in (first, second))
                kind = next(
                    kind for kind, words in COMPARE_CLOSED.items() if words[0].split("{}")[0] in question.question
                )
                assert shown == {"first": (True, False), "second": (False, True), "both": (True, True)}[kind]
                kinds.add(kind)
        assert len({(question.question.split(": ")[0], question.topic) for question in found}) == len(found)
    assert kinds == {"first", "second", "both"}


def test_ecgs_without_questions_are_probed_and_change_nothing_else(data, tiny, packer):
    stage = StageRecipe(train=[], questions=3, drill=4, probe_only=3)
    dataset = ECGQuestions(data, stage, 12)
    items = [dataset[i] for i in range(12)]
    assert all(len(item.probe_only) == 3 and len(item.questions) > 3 or len(item.recordings) == 2 for item in items)
    batch = packer(items)
    positions, statements = batch.pop("probe_positions"), batch.pop("statements")
    with torch.no_grad():
        outputs = tiny(**batch, output_hidden_states=True)
        alone = tiny(**packer([replace(item, probe_only=[]) for item in items]))
        assert_close(outputs.loss, alone.loss)
        states = outputs.hidden_states[-1][positions]
        assert len(states) == len(statements) == 36
        kinds = set()
        for probed in (probed for item in items for probed in item.probe_only):
            (recording,) = probed.recordings
            kinds.add(type(recording))
            single = packer([probed])
            inputs = {k: v for k, v in single.items() if k not in ("labels", "probe_positions", "statements")}
            last = tiny(**inputs, output_hidden_states=True).hidden_states[-1][single["probe_positions"]]
            same = (states - last).abs().amax(1) < 1e-4
            expected = torch.from_numpy(probed.statements).float()
            assert any(torch.equal(statements[k], expected) for k in same.nonzero().flatten())
        assert kinds == {BeatTokens, LeadTiles}


@torch.no_grad()
def test_kept_tokens_are_those_of_the_signals(data, tiny, packer):
    signals = [data.cleaned(record) for record in range(4)]
    assert data.views == 3 and len({data.tokens(record, 2).codes.tobytes() for record in range(8)}) == 8
    questions = ECGQuestions(data, JOINT, 1)[0].questions
    raw = packer([TrainingItem(questions, [signal]) for signal in signals])
    kept = packer([TrainingItem(questions, [data.tokens(record, 0)]) for record in range(4)])
    assert "input_values" in raw and "ecg_codes" in kept and "input_values" not in kept
    assert torch.equal(raw["input_ids"], kept["input_ids"])
    assert torch.equal(tiny(**raw).logits, tiny(**kept).logits)
    # Views of several lengths in one batch.
    views = [data.tokens(record, view) for record in range(4) for view in range(3)]
    mixed = packer([TrainingItem(questions, [view]) for view in views])
    assert (mixed["ecg_codes"] == -1).any() and tiny(**mixed).loss.isfinite()
    prompt = {name: kept[name][:1] for name in ("input_ids", "ecg_codes", "ecg_gain")}
    assert tiny.generate(**prompt, max_new_tokens=3, do_sample=False).shape[1] == prompt["input_ids"].shape[1] + 3
    with pytest.raises(ValueError, match="BeatTokens and CleanedSignal"):
        packer([TrainingItem(questions, [signals[0]]), TrainingItem(questions, [views[0]])])


@torch.no_grad()
def test_fewer_branches_give_the_same_loss(data, tiny, tiny_processor):
    dataset = ECGQuestions(data, StageRecipe(train=[], questions=5, drill=6, probe_only=2), 12)
    items = [dataset[i] for i in range(12)]
    whole, parted = (QuestionPacker(tiny_processor, branches)(items) for branches in (None, 3))
    assert (
        parted["input_ids"].shape[1] < whole["input_ids"].shape[1]
        and (parted["labels"] >= 0).sum() == (whole["labels"] >= 0).sum()
    )
    probed = [batch.pop("probe_positions").sum() for batch in (whole, parted)]
    assert probed[0] == probed[1] and torch.equal(whole.pop("statements").sum(0), parted.pop("statements").sum(0))
    assert_close(tiny(**parted).loss, tiny(**whole).loss)


@torch.no_grad()
def test_kept_slots_are_those_of_the_pictures(data, tiny, packer, items):
    data.encode_pictures(tiny, packer)
    questions = items[0].questions
    raw = packer([TrainingItem(questions, [LeadTiles(data.tiles[record])]) for record in range(6)])
    kept = packer([TrainingItem(questions, [ImageSlots(data.slots[record])]) for record in range(6)])
    assert "pixel_values" in raw and "image_slots" in kept and torch.equal(raw["input_ids"], kept["input_ids"])
    assert_close(tiny(**kept).logits, tiny(**raw).logits, atol=2e-2, rtol=1e-3)  # they are kept in half precision
    kept["image_slots"] = kept["image_slots"].roll(1, 0)  # another picture's
    assert (tiny(**kept).logits - tiny(**raw).logits).abs().max() > 0.1


def test_other_weights_have_other_tokens(built, cache, tiny, tiny_processor):
    """Cached tokens of one Beat are never taken for those of another."""
    found = HeartcareData(built, "train", cache, tiny_processor, pictures=6)
    found.encode_signals(tiny, views=1, seed=0)
    before = [found.tokens(record, 0).codes.tolist() for record in range(8)]
    with torch.no_grad():
        tiny.beat.quantizer.levels[0].codebook.mul_(-1)
    found.encode_signals(tiny, views=1, seed=0)
    assert before != [found.tokens(record, 0).codes.tolist() for record in range(8)]


def where(packer: QuestionPacker, items: list[TrainingItem]) -> list[tuple[int, int]]:
    """Returns the row and the first token of each item in the batch."""
    lengths, places = [len(packer.pack(item).input_ids) for item in items], {}
    for row, members in enumerate(fill_rows(lengths)):
        for k, i in enumerate(members):
            places[i] = row, sum(lengths[j] for j in members[:k])
    return [places[i] for i in range(len(items))]


@pytest.mark.parametrize("template", ["own", "chatml", "phi3"])
@torch.no_grad()
def test_packed_questions_equal_prompts_of_their_own(tiny, tiny_processor, items, template):
    """A packed item has, token by token, the prompt of the chat template, and the same logits."""
    templates = {
        "own": tiny_processor.chat_template,
        "chatml": CHATML_TEMPLATE,
        "phi3": (RECIPES / "phi3.jinja").read_text(),
    }
    tiny_processor.chat_template = templates[template]
    pack = QuestionPacker(tiny_processor)
    short = [replace(item, questions=item.questions[:1]) for item in items if len(item.recordings) == 1]
    items = [*short, *items]  # some share a row
    batch = pack(items)
    logits = tiny(**{name: value for name, value in batch.items() if name != "labels"}).logits
    assert any(len(item.questions) == 3 for item in items) and len(logits) < len(items)
    for item, (row, start) in zip(items, where(pack, items)):
        ids, labels, _, branch = pack.pack(item)
        assert batch["input_ids"][row, start : start + len(ids)].tolist() == ids
        shared = branch.count(0)
        assert shared > 20 and len(set(branch)) == len(item.questions) + 1
        for k, question in enumerate(item.questions, 1):
            single = pack([replace(item, questions=[question])])
            assert single["attention_mask"].ndim == 2
            end = int(single["attention_mask"].sum())
            alone = tiny(**{name: value for name, value in single.items() if name != "labels"}).logits[0, :end]
            places = [i for i, each in enumerate(branch) if each == k]
            assert [ids[i] for i in places] == single["input_ids"][0, shared:end].tolist()
            assert [labels[i] for i in places] == single["labels"][0, shared:end].tolist()
            assert_close(logits[row, start:][places], alone[shared:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("template", ["own", "chatml", "phi3"])
@pytest.mark.parametrize("numbers", [False, True], ids=["plain", "numbers"])
def test_labels_are_the_assistant_mask_of_the_chat_template(tiny_processor, items, data, template, numbers):
    tiny_processor.write_measurements = numbers
    templates = {
        "own": tiny_processor.chat_template,
        "chatml": CHATML_TEMPLATE,
        "phi3": (RECIPES / "phi3.jinja").read_text(),
    }
    tiny_processor.chat_template = templates[template]
    pack = QuestionPacker(tiny_processor)
    question = items[0].questions[0]
    for records in ([0], [1, 2]):
        signals = [data.signal(record) for record in records]
        measured = tiny_processor.feature_extractor(signals, sampling_rate=100, units="mV", return_measurements=True)[
            "ecg_measurements"
        ]
        lines = [measurement_line(each) if numbers else "" for each in measured]
        tokens = [data.tokens(record, 0)._replace(line=line) for record, line in zip(records, lines)]
        batch = pack([TrainingItem([question], tokens)])
        content = [{"type": "ecg", "ecg": signal, "sampling_rate": 100, "units": "mV"} for signal in signals]
        conversation = [
            {"role": "user", "content": [*content, {"type": "text", "text": question.question}]},
            {"role": "assistant", "content": question.answer},
        ]
        inputs = tiny_processor.apply_chat_template(
            conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = (torch.tensor(inputs[name]).view(-1) for name in ("input_ids", "assistant_masks"))
        assert torch.equal(batch["input_ids"][0, : len(ids)], ids) and mask.sum() > 2
        assert torch.equal(batch["labels"][0, : len(ids)], ids.masked_fill(mask == 0, -100))
        assert (batch["labels"][0, len(ids) :] == -100).all() and batch["attention_mask"].sum() == len(ids)
        assert batch["input_ids"].shape[1] % LENGTH_STEP == 0 and batch["input_ids"].shape[1] - len(ids) < LENGTH_STEP


def test_signals_are_shown_with_their_numbers_now_and_then_with_others(data):
    data.measure_signals(100)
    assert len(data.lines) == len(data) and all(re.match(r" rate (\d+|\?), PR (\d+|\?), ", line) for line in data.lines)
    signals = {"signal": 1, "image": 0, "pair": 0}
    stage = StageRecipe(shares=signals, numbers=0.8, wrong_numbers=0.25)
    dataset, counts = ECGQuestions(data, stage, 600), Counter()
    for i in range(600):
        (tokens,) = dataset[i].recordings
        own = [data.lines[k] for k in range(len(data)) if tokens.gain in [data.tokens(k, v).gain for v in range(3)]]
        counts["none" if not tokens.line else "own" if tokens.line in own else "other"] += 1
    assert 80 <= counts["none"] <= 160 and 60 <= counts["other"] <= 130 and counts["own"] > 300
    without = ECGQuestions(data, StageRecipe(shares=signals), 20)
    assert not any(each.line for i in range(20) for each in without[i].recordings)


def test_a_template_that_does_not_mark_answers_is_refused(tiny_processor, items):
    tiny_processor.chat_template = CHATML_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    with pytest.raises(ValueError, match="generation"):
        QuestionPacker(tiny_processor)(items)


@pytest.mark.slow
def test_streamed_questions(built, tiny_processor, tiny):
    streamed = list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe()))
    shards = json.loads((built / "manifest.json").read_text())["shards"]
    assert len(streamed) == sum(shard["samples"] for shard in shards if shard["name"].startswith("validation"))
    assert all(len(item.questions) == 1 for item in streamed)
    assert {len(item.recordings) for item in streamed} == {1, 2}
    pictures = [item for item in streamed if any(isinstance(each, LeadTiles) for each in item.recordings)]
    batch = QuestionPacker(tiny_processor)(streamed[:2] + pictures[:2])
    assert tiny(**batch).loss.isfinite()
    assert len(list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(), limit=5))) == 5
    singles = list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(pairs=False)))
    assert 0 < len(singles) < len(streamed) and all(len(item.recordings) == 1 for item in singles)
    words = StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(ecgs=False), limit=3)
    assert all(item.questions and not item.recordings for item in words)
    train = [
        StreamedQuestions(str(built), "train", tiny_processor, StageRecipe(task="report"), seed) for seed in (0, 0, 1)
    ]
    first = [[next(rows).questions[0].answer for rows in [iter(each)] for _ in range(8)] for each in train]
    assert first[0] == first[1] != first[2]


def test_codes_are_checked(tiny):
    codes, gain = torch.zeros(2, 2, 50, dtype=torch.long), torch.ones(2)
    assert len(tiny.get_ecg_features(ecg_codes=codes, ecg_gain=gain).pooler_output) == 2
    for wrong in (
        {"ecg_codes": codes},
        {"ecg_codes": codes[:, :1], "ecg_gain": gain},
        {"ecg_codes": codes[0], "ecg_gain": gain},
        {"ecg_codes": codes, "ecg_gain": gain[:1]},
    ):
        with pytest.raises(ValueError, match="ecg_codes must have shape"):
            tiny.get_ecg_features(**wrong)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes(path):
    recipe = read_recipe(
        path, ["stages.joint.training.eval_strategy=no", "stages.joint.training.learning_rate=3e-4", "data.views=2"]
    )
    assert (
        recipe.stages["joint"].training["eval_strategy"] == "no"
        and recipe.stages["joint"].training["learning_rate"] == 3e-4
    )
    # The default's ViT is trained before, and its language model reads signals first; evidence goes on with another.
    before = {"default": "signals", "evidence": None}.get(path.stem, "warmup")
    assert recipe.data.views == 2 and recipe.before("joint") == before
    with_evidence = ["evidence_projector"] if path.stem in ("evidence", "smollm2-135m") else []
    projectors = ["signal_projector", "image_projector", *with_evidence]
    if before:
        assert recipe.stages["warmup"].train == projectors[: 1 if path.stem == "default" else None]
    assert set(recipe.stages["joint"].train) >= set(projectors)
    if recipe.stages["joint"].lora:
        names = {"phi3-mini-siglip": ("qkv_proj", "down_proj")}.get(path.stem, ("q_proj", "down_proj"))
        for name in names:
            part = {"down_proj": "mlp"}.get(name, "self_attn")
            assert re.fullmatch(
                recipe.stages["joint"].lora["target_modules"], f"language_model.model.layers.11.{part}.{name}"
            )


def test_recipes_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="stages.joint has no \\['trian'\\]"):
        read_recipe(RECIPES / "default.yaml", ["stages.joint.trian=[]"])
    with pytest.raises(ValueError, match="no assignment"):
        read_recipe(RECIPES / "default.yaml", ["data.views"])
