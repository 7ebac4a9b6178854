"""What watches PyTorch: patches on its Python names, spans, the accelerator's own call-backs, the dispatch layer."""
