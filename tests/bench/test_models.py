"""A HeartcareGPT as the benchmark asks it."""

import numpy as np
from transformers import pipeline

from heartcare.answering_heartcare import NO_ECG
from heartcare.bench.classify import QUESTIONS
from heartcare.bench.models import ModelSpec, Prompt, describe, load_model


def test_a_heartcare_model_is_asked_as_people_ask_it(items, root):
    """The answers are those of its pipeline: statements by findings, refusals, and forecasts as signals."""
    spec = ModelSpec(str(root))
    model, pipe = load_model(spec, 0), pipeline(model=str(root), trust_remote_code=True)
    assert describe(spec).get("alone") is None and describe(ModelSpec(str(root), alone=True))["alone"]
    item = next(item for item in items if item.task == "classification" and item.subset == "S")
    questions = list(QUESTIONS.values())[:12]
    shares = model.yes_probabilities(item.parts(), questions)
    found = [pipe({"ecgs": item.parts(), "question": question})["probabilities"]["Yes"] for question in questions]
    np.testing.assert_allclose(shares, found, atol=1e-5)
    noise = [{**item.parts()[0], "signal": np.random.default_rng(0).normal(0, 0.2, item.parts()[0]["signal"].shape)}]
    assert (model.yes_probabilities(noise, questions) == 0.5).all()
    prompts = [
        Prompt(item.parts(), "What is the rhythm?"),
        Prompt([], "What is the rhythm?"),
        Prompt(item.parts(), "How does this ECG go on for 2 seconds?", seconds=2),
        Prompt(noise, "What is the rhythm?"),
    ]
    open_answer, without, forecast, refused = model.answer(prompts, 32)
    assert open_answer.text == pipe({"ecgs": item.parts(), "question": "What is the rhythm?"})["text"]
    assert without.text == NO_ECG and "no ECG" in refused.text and refused.forecast is None
    assert forecast.forecast.shape == (12, 200)
