"""Every error raised on purpose.

Each text says what is wrong (with the values), where (tensor, file) and what to do next.
"""


class WeightspaceError(Exception):
    """Root of all errors raised on purpose; catch this one to keep a batch going."""


class CheckpointError(WeightspaceError, ValueError):
    """A checkpoint whose content contradicts itself: header, shapes, names or values."""


class UnsafeCheckpointError(CheckpointError):
    """A file that asks for code to be run, or for paths outside its own folder."""


class FormatError(CheckpointError):
    """A file in a format that is not read here, or whose optional extra is not installed."""


class RemoteError(WeightspaceError, OSError):
    """A hub repository that could not be reached or does not hold what was asked for."""


class GraphError(WeightspaceError, ValueError):
    """A parameter graph that breaks its promise, or does not fit the checkpoint it is used with."""


class TraceError(GraphError):
    """A module that could not be exported and traced."""


class ArchitectureError(WeightspaceError, ValueError):
    """A checkpoint that cannot be run because its architecture is not known."""


class EncoderError(WeightspaceError, ValueError):
    """An encoder that is unknown, or a graph it cannot encode."""


class DeviceMemoryError(EncoderError):
    """An encoding that does not fit in the memory of its device, however small the pieces."""


class DecoderError(WeightspaceError, ValueError):
    """A decoder that is unknown, or latents and architectures that it does not decode."""


class TableError(WeightspaceError, ValueError):
    """A latent table with missing columns, mixed encoders or an unreadable file."""


class ZooError(WeightspaceError, ValueError):
    """A population that is incomplete, altered, or cannot be built."""


class RecipeError(ZooError):
    """A recipe with an unknown key, a value out of range, or a family that does not fit its data."""


class DataError(ZooError):
    """A dataset that is missing, or whose arrays have wrong shapes or labels."""


class ConfigError(WeightspaceError, ValueError):
    """A training configuration with an unknown key or a value that does not fit."""


class GeneratorError(WeightspaceError, ValueError):
    """A generator that is unknown or cannot be fitted, or a condition that it cannot meet."""


class AuditError(WeightspaceError, ValueError):
    """Networks that cannot be held against others: different inputs, none to compare with, or none that are finite."""


class ExplorerError(WeightspaceError, ValueError):
    """What the explorer was asked for and cannot give: a row, a file or a setting that is not there."""


class CodecError(WeightspaceError, ValueError):
    """Compressed weights that are damaged or of another architecture, or a rate that cannot be reached."""
