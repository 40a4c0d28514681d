"""People's photos as files: formats, pixels, color profiles, metadata."""
