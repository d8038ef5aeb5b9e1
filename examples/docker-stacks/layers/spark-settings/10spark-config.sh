#!/bin/bash
# Spark's own script puts its packages on PYTHONPATH.
# shellcheck source=/dev/null
source "$SPARK_HOME/sbin/spark-config.sh"
