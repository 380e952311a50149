"""The networks of LGGAN: encoder, global, local and attention branch, classification, discriminator."""
