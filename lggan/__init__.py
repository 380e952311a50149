"""LGGAN in PyTorch: the networks, losses, data sets, training, evaluation, checkpoints.

H. Tang, L. Shao, P. H. S. Torr, N. Sebe, "Local and Global GANs with Semantic-Aware Upsampling for Image Generation",
IEEE TPAMI 45(1), 2023. Written from the specification; none of the authors' code is used.
"""
