#!/bin/bash
# TensorBoard puts its port in the place of %PORT%; a JupyterHub gives each server a path of its own.
export TENSORBOARD_PROXY_URL="${JUPYTERHUB_SERVICE_PREFIX:-/}proxy/%PORT%/"
