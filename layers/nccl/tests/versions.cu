/* Links all that a GPU stack has, says the versions, and goes as far as a machine without a GPU lets it. */
#include <cstdio>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <nccl.h>

int main()
{
    int runtime = 0, nccl = 0, devices = 0;
    cudaRuntimeGetVersion(&runtime);
    ncclGetVersion(&nccl);
    printf("cudart %d.%d\n", runtime / 1000, runtime % 1000 / 10);
    printf("cudnn %zu\n", cudnnGetVersion());
    printf("nccl %d.%d.%d\n", nccl / 10000, nccl % 10000 / 100, nccl % 100);
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess || devices == 0) {
        printf("no CUDA device: %s\n", cudaGetErrorString(error));
        return 0;
    }
    ncclComm_t communicator;
    ncclResult_t result = ncclCommInitAll(&communicator, 1, nullptr);
    printf("%d devices, NCCL says: %s\n", devices, ncclGetErrorString(result));
    return result == ncclSuccess ? 0 : 1;
}
