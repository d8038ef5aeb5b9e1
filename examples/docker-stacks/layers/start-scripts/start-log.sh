#!/bin/bash
# Sourced: how the start scripts speak. JUPYTER_DOCKER_STACKS_QUIET silences all but warnings and errors.

# _log LEVEL WORD...: a line to stderr, in colour on a terminal that has not set NO_COLOR.
_log() {
    local level="$1" colour=''
    shift
    case "$level" in
        WARNING) colour='33' ;;
        ERROR | FATAL) colour='31' ;;
        *) [[ -z "${JUPYTER_DOCKER_STACKS_QUIET:-}" ]] || return 0 ;;
    esac
    if [[ -n "$colour" && -t 2 && -z "${NO_COLOR:-}" ]]; then
        printf '\033[%sm%s: %s\033[0m\n' "$colour" "$level" "$*" >&2
    else
        printf '%s: %s\n' "$level" "$*" >&2
    fi
}
_log_info() { _log INFO "$@"; }
_log_warn() { _log WARNING "$@"; }
_log_error() { _log ERROR "$@"; }
_log_fatal() {
    _log FATAL "$@"
    exit 1
}
