"""Variants that the runtime itself can open: ONNX models and engines."""

from __future__ import annotations

from pathlib import Path

from runtime.backend import SessionOptions
from runtime.profiler.variant import Opener, Variant, VariantKind
from runtime.session import Session


def session_variant(name: str, path: Path, options: SessionOptions) -> Variant:
    """A variant that measures `Session.generate` of the model or engine at ``path``."""
    kind = VariantKind.ONNX if path.suffix.lower() == ".onnx" else VariantKind.ENGINE
    return Variant(name, path, kind, Opener(_open_session, (str(path), options)))


def _open_session(path: str, options: SessionOptions) -> Session:
    return Session.open(path, options)
