"""Photos to learn from: archive, cache, dataset, batches."""
