"""Each rank sends its number to the next one."""

from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()
before = world.sendrecv(rank, dest=(rank + 1) % size, source=(rank - 1) % size)
print(f"rank {rank} of {size} follows rank {before}")
