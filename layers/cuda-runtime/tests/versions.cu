/* Links cudart and cuDNN, says their versions, and goes as far as a machine without a GPU lets it. */
#include <cstdio>
#include <cuda_runtime.h>
#include <cudnn.h>

__global__ void add(int *sum) { atomicAdd(sum, 1); }

int main()
{
    int runtime = 0, devices = 0;
    cudaRuntimeGetVersion(&runtime);
    printf("cudart %d.%d\n", runtime / 1000, runtime % 1000 / 10);
    printf("cudnn %zu\n", cudnnGetVersion());
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess || devices == 0) {
        printf("no CUDA device: %s\n", cudaGetErrorString(error));
        return 0;
    }
    int *sum;
    cudaMallocManaged(&sum, sizeof *sum);
    *sum = 0;
    add<<<2, 32>>>(sum);
    cudaDeviceSynchronize();
    printf("%d devices, sum %d\n", devices, *sum);
    return *sum == 64 ? 0 : 1;
}
