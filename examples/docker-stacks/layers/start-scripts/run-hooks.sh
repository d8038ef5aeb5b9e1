#!/bin/bash
# Sourced with one folder, whose files run in order of their names: `*.sh` are sourced, so that what they export
# reaches the server; others run if they are executable. One that fails is told of and does not stop the rest.

if ! declare -F _log >/dev/null; then
    # shellcheck source=/dev/null
    source /usr/local/bin/start-log.sh
fi
if [[ $# -ne 1 || ! -d "$1" ]]; then
    _log_error "run-hooks.sh takes one folder that exists, found: $*"
    return 1
fi

# A hook may set -e for itself; neither it nor the caller's own may end the caller.
[[ $- == *e* ]] && _hooks_errexit=-e || _hooks_errexit=+e
set +e
_log_info "hooks of $1, as $(id -u):$(id -g)"
for _hook in "$1"/*; do
    if [[ "$_hook" == *.sh && -f "$_hook" ]]; then
        _log_info "sourcing $_hook"
        # shellcheck source=/dev/null
        source "$_hook"
        _hook_status=$?
        set +e
    elif [[ -f "$_hook" && -x "$_hook" ]]; then
        _log_info "running $_hook"
        "$_hook"
        _hook_status=$?
    else
        [[ ! -f "$_hook" ]] || _log_info "leaving out $_hook, which is not executable"
        continue
    fi
    [[ $_hook_status -eq 0 ]] || _log_error "$_hook ended with $_hook_status, going on"
done
set "$_hooks_errexit"
unset _hooks_errexit _hook _hook_status
