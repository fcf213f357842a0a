"""Registers HeartcareGPT with vLLM, which calls `register` in each of its processes where both are installed."""


def register() -> None:
    """Makes vLLM read ECGs as well as pictures; see `vllm_ecg`, which is imported when such a model is served."""
    from vllm import ModelRegistry

    ModelRegistry.register_model("HeartcareForConditionalGeneration", "heartcare.examples.vllm_ecg:HeartcareForVLLM")
