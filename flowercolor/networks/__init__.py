"""The networks: generator, discriminator, encoder."""
