"""What the decompressor of compressed-tensors 0.14 makes of packed files, for Pythons that have that package.

Example: python compressed_tensors_reads.py PACKED OUT [PACKED OUT ...]
"""

import sys

from compressed_tensors.compressors import BitmaskCompressor  # type: ignore[import-not-found]  # not in every Python
from compressed_tensors.config import BitmaskConfig  # type: ignore[import-not-found]
from safetensors.torch import save_file

decompressor = BitmaskCompressor(config=BitmaskConfig())
for packed, out in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    save_file({name: tensor.contiguous() for name, tensor in decompressor.decompress(packed)}, out)
