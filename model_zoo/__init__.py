"""Small real checkpoints that ship with the package; `SOURCES.md` says whose they are and under which licence.

Example:
    >>> from importlib.resources import files
    >>> folder = files("weightspace.model_zoo") / "checkpoints"
    >>> (folder / "gpt_by_hand.safetensors").is_file()
    True
"""
