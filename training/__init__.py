"""Training: Beat, the ViT, and the whole model stage by stage, by recipes in YAML. See docs/training.md."""
