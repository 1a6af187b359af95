"""Where models come from: a file of the user's, or Hugging Face."""
import importlib.util
import pathlib
import sys
from collections.abc import Callable

import torch

from . import outputs as files
from .errors import ExportError, failure

Build = Callable[[], tuple[torch.nn.Module, dict[str, torch.Tensor]]]


def from_file(where: str) -> Build:
    """The function `build` (or NAME of FILE.py:NAME)."""
    file, _, name = where.partition(":")
    if not pathlib.Path(file).is_file():
        raise ExportError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(pathlib.Path(file).stem, file)
    source = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = source
    sys.path.insert(0, str(pathlib.Path(file).resolve().parent))
    files.watch()
    try:
        spec.loader.exec_module(source)
    except Exception as problem:  # whatever the user's file raises
        raise failure(f"{file} fails", problem, code=3) from problem
    except SystemExit:
        raise ExportError(f"{file} ends the program when it is imported", 'put what it runs behind `if __name__ == "__main__":`') from None
    if not callable(getattr(source, name or "build", None)):
        raise ExportError(f"{file} defines no function {name or 'build'}")
    return getattr(source, name or "build")


def from_hugging_face(where: str, weights: bool, batch: int, sequence: int, dropout: bool) -> Build:
    """A causal language model with forward(input_ids, labels) -> (loss, logits); it shifts the labels itself.

    A subclass rather than a wrapper, so that parameters keep the names of the Hugging Face checkpoint. Without `dropout`
    the model is exported in evaluation mode, which differs from training mode in nothing else for these models; with it,
    attention is the eager one, since the exporter loses dropout inside the fused call.
    """
    try:
        import transformers
    except ImportError:
        raise ExportError("this Python has no package transformers, which --hf needs", "pip install transformers") from None

    attention = {"attn_implementation": "eager"} if dropout else {}

    def build():
        try:
            model = load()
        except Exception as problem:  # whatever transformers raises
            raise failure(f"transformers cannot load {where}", problem, code=3) from problem
        return adapted(model)

    def load():
        if weights:
            return transformers.AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **attention)
        config = transformers.AutoConfig.from_pretrained(where)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, **attention)

    def adapted(model):
        base = type(model)

        def forward(self, input_ids, labels):
            out = base.forward(self, input_ids=input_ids, labels=labels, use_cache=False)
            return out.loss, out.logits

        model.__class__ = type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})
        tokens = torch.zeros((batch, sequence), dtype=torch.int64)
        return model.train(dropout), {"input_ids": tokens, "labels": tokens.clone()}

    return build
