"""Street scenes laid out in metres and drawn as label maps; nothing here reads a photo or another label map."""
