#!/bin/bash
# TensorFlow does not look for the libraries of NVIDIA's wheels where they are.
for _nvidia in "$CONDA_DIR"/lib/python3.*/site-packages/nvidia/*/lib; do
    LD_LIBRARY_PATH="$_nvidia${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
unset _nvidia
