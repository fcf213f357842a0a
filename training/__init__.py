"""Training: Beat, the ViT, and the whole model stage by stage, by recipes in YAML. See examples/training.md."""
