"""Takes what the model's strategies make through the real product, and holds both answers side by side."""
