"""The metadata of the cards, by the classes of huggingface_hub that read and check them."""

import json

import pytest
from huggingface_hub import ChatCompletionInputMessage, ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import validate_repo_id
from support.paths import ROOT

from heartcare.training.publish_adapter import card

# Names under https://huggingface.co/evaluate-metric of measures that are used here.
HUB_METRICS = {"accuracy", "f1", "roc_auc", "rouge", "bleu", "bertscore", "mse", "mae"}
HERE = "https://huggingface.co/USER/HeartcareGPT/resolve/main/"  # examples/push_to_hub.py writes the name


@pytest.fixture(params=["README.md", "smollm2/README.md"])
def metadata(request):
    return ModelCard.load(ROOT / request.param, ignore_metadata_errors=False).data


def test_ids_are_those_of_the_hub(metadata, root):
    """Data sets and base models have owner and name, and metrics names that the Hub knows."""
    named = [*(metadata.datasets or []), *([metadata.base_model] if metadata.base_model else [])]
    for name in named:
        validate_repo_id(name)
        assert name.count("/") == 1, name
    assert set(metadata.metrics or ()) <= HUB_METRICS
    assert metadata.library_name == "transformers" and metadata.pipeline_tag == "image-text-to-text"
    assert metadata.license == "apache-2.0" and (root / "LICENSE").read_text().lstrip().startswith("Apache License")
    assert "custom_code" in metadata.tags


def test_results_are_read_as_they_were_written_and_stand_in_the_card():
    page = ModelCard.load(ROOT / "README.md", ignore_metadata_errors=False)
    results = page.data.eval_results
    assert len(results) >= 3 and {result.metric_type for result in results} == set(page.data.metrics)
    assert {result.task_type for result in results} == {page.data.pipeline_tag}
    (again,) = eval_results_to_model_index(page.data.model_name, results)
    (written,) = page.data.to_dict()["model-index"]
    assert again == written
    for result in results:
        assert f" {result.metric_value:.3f} [" in page.text, result.metric_name  # with its interval


def test_the_widget_asks_in_messages_about_pictures_that_are_here(root, processor):
    """The widget has the form of a chat, which the processor takes as it is."""
    examples = ModelCard.load(ROOT / "README.md").data.widget
    assert len(examples) >= 2
    for example in examples:
        assert set(example) == {"messages"}
        for message in example["messages"]:
            content = ChatCompletionInputMessage.parse_obj_as_instance(message).content
            (picture,) = [part.image_url.url for part in content if part.type == "image_url"]
            assert picture.startswith(HERE) and (root / picture.removeprefix(HERE)).is_file()
            (question,) = [part.text for part in content if part.type == "text"]
            assert question and {part.type for part in content} == {"image_url", "text"}
        prompt = processor.apply_chat_template(example["messages"], tokenize=False)
        assert prompt.count(processor.image_token) == 1 and question in prompt


def test_an_adapter_s_card_names_its_base(root):
    """The card of the adapter is the one that the command writes, and config.json names the same base and
    version.
    """
    file = root / "smollm2/README.md"
    metadata = ModelCard.load(file).data
    assert metadata.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct" and metadata.base_model_relation == "adapter"
    config = json.loads((root / "smollm2/config.json").read_text())
    assert config["adapter"]["base"] == metadata.base_model
    assert file.read_text(encoding="utf-8") == card(metadata.base_model, config["heartcare_version"])
