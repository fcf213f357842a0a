"""The shapes of the default checkpoint's ViT and language model, which both start from random weights."""

from transformers import LlamaConfig, SiglipVisionConfig

VISION = SiglipVisionConfig(
    image_size=128,
    patch_size=16,
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=3,
    num_attention_heads=4,
    vision_use_head=False,
)


def language_model_config(vocab_size: int, eos_token_id: int, pad_token_id: int) -> LlamaConfig:
    """Returns the configuration of the language model for a tokenizer of that size."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
    )
