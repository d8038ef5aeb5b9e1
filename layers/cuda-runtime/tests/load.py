"""Loads a library as a program would, by its name alone, and prints its version."""

import ctypes
import re
import sys
from pathlib import Path

name = sys.argv[1]
folders = [Path("/usr/local/cuda/lib64"), *Path("/usr/lib").glob("*-linux-gnu")]
found = [path.name for folder in folders for path in folder.glob(f"lib{name}.so.*")]
library = ctypes.CDLL(found[0])
if name == "cudart":
    number = ctypes.c_int()
    if library.cudaRuntimeGetVersion(ctypes.byref(number)) == 0:
        version = number.value
    else:
        # Before CUDA 12 it does not even say its version without a driver; the header of the same release does.
        header = Path("/usr/local/cuda/include/cuda_runtime_api.h").read_text(encoding="utf-8")
        version = int(re.findall(r"define CUDART_VERSION +([0-9]+)", header)[0])
    print(f"cudart {version // 1000}.{version % 1000 // 10}")
else:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = library.cudnnGetVersion()
    # 8907 is 8.9.7, 91002 is 9.10.2.
    factor = 10000 if number >= 90000 else 1000
    print(f"cudnn {number // factor}.{number % factor // 100}.{number % 100}")
