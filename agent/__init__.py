"""HeartAgent, the data engine: simulate, draw, ask."""
