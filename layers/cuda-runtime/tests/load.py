"""Loads a library as a program would, by its name alone, and prints its version."""

import ctypes
import sys
from pathlib import Path

name = sys.argv[1]
folders = [Path("/usr/local/cuda/lib64"), *Path("/usr/lib").glob("*-linux-gnu")]
found = [path.name for folder in folders for path in folder.glob(f"lib{name}.so.*")]
library = ctypes.CDLL(found[0])
if name == "cudart":
    number = ctypes.c_int()
    library.cudaRuntimeGetVersion(ctypes.byref(number))
    print(f"cudart {number.value // 1000}.{number.value % 1000 // 10}")
else:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = library.cudnnGetVersion()
    # 8907 is 8.9.7, 91002 is 9.10.2.
    factor = 10000 if number >= 90000 else 1000
    print(f"cudnn {number // factor}.{number % factor // 100}.{number % 100}")
