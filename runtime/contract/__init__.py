"""What every room agrees on: errors and their exit codes, the model card, label maps, pictures, safe files, progress.

Needs numpy and Pillow alone, and imports nothing from the rest of the project, so that every room may import it.
"""
