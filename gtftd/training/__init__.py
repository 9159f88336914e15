"""Training: base models, data, objectives, the loop and its exports. The only room that imports torch."""
