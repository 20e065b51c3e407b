"""Harmless values beside the weights of a pickle that PyTorch's safe loading refuses.

Training scripts keep their command line with the weights, and that holds paths and NumPy's numbers. None of it is
needed, so none of it is made: their names lead to a class that keeps nothing and does nothing.
"""

from __future__ import annotations

import argparse
from typing import Any, Final


class Discarded:
    """Stands for a value that is not needed; takes whatever a pickle gives it, and forgets it."""

    def __new__(cls, *_args: object, **_options: object) -> Discarded:
        """Make one, whatever the original would have been made from."""
        return super().__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


PATHS: Final = ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")
DTYPES: Final = (
    *("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float16", "Float32", "Float64", "Complex64", "Complex128", "Str", "Bytes"),
)
SCALARS: Final = ("bool", "bool_", "int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64", "str_")
NAMES: Final = (
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in PATHS),
    *(f"numpy.{module}.multiarray.{name}" for module in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype"),
    *(f"numpy.{name}" for name in SCALARS),
    *(f"numpy.dtypes.{name}DType" for name in DTYPES),
)
HARMLESS: Final[list[Any]] = [argparse.Namespace, *((Discarded, name) for name in NAMES)]
"""As `torch.serialization.safe_globals` takes it."""
