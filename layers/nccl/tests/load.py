"""Loads NCCL as a program would, by its name alone, and prints its version."""

import ctypes

number = ctypes.c_int()
ctypes.CDLL("libnccl.so.2").ncclGetVersion(ctypes.byref(number))
print(f"nccl {number.value // 10000}.{number.value % 10000 // 100}.{number.value % 100}")
