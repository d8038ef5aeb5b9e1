#!/bin/bash
# What activating the environment does to variables reaches the server: packages of conda have scripts for it.
if command -v conda >/dev/null; then
    eval "$(conda shell.bash hook)"
fi
