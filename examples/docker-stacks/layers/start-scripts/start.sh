#!/bin/bash
# The entry point: as root it makes the user jovyan what the NB_ variables ask for, runs the hooks, and becomes the
# command as that user. As any other user it can only tell what it cannot do.
set -e
source /usr/local/bin/start-log.sh

yes() { [[ "$1" == 1 || "$1" == yes ]]; }

# Secrets that only hooks may see are named in JUPYTER_ENV_VARS_TO_UNSET, with commas between.
forget_variables() {
    local name
    for name in ${JUPYTER_ENV_VARS_TO_UNSET//,/ }; do
        unset "$name"
    done
    unset JUPYTER_ENV_VARS_TO_UNSET
}

# NB_USER: another name for jovyan.
rename_user() {
    if [[ "$NB_USER" == root ]]; then
        [[ "$NB_UID:$NB_GID" == 0:0 ]] || _log_fatal 'NB_USER=root needs NB_UID=0 and NB_GID=0 too'
        sed -i 's|:/root:|:/home/root:|' /etc/passwd
    elif id jovyan &>/dev/null; then
        [[ "$NB_USER" == jovyan ]] || usermod --login "$NB_USER" --home "/home/$NB_USER" jovyan
    elif ! id "$NB_USER" &>/dev/null; then
        # A container that is started again has the name that it was started with first.
        _log_fatal "there is neither a user jovyan nor $NB_USER: NB_USER cannot change in a container that has run"
    fi
}

# NB_UID, NB_GID, NB_GROUP: other ids. The group users stays one of the user's, since it owns the environment.
renumber_user() {
    [[ "$NB_USER" != root && "$NB_UID:$NB_GID" != "$(id -u "$NB_USER"):$(id -g "$NB_USER")" ]] || return 0
    _log_info "$NB_USER becomes $NB_UID:$NB_GID"
    if [[ "$NB_GID" != "$(id -g "$NB_USER")" ]]; then
        groupadd --force --non-unique --gid "$NB_GID" "${NB_GROUP:-$NB_USER}"
    fi
    # Not usermod, which would change the owner of all that is in the home, however large it is.
    userdel "$NB_USER" 2>/dev/null
    useradd --no-log-init --no-create-home --home "/home/$NB_USER" --shell /bin/bash \
        --uid "$NB_UID" --gid "$NB_GID" --groups 100 "$NB_USER"
}

# The home of another name is a copy of jovyan's, or leads to it; the working folder moves along.
move_home() {
    local home="/home/$NB_USER" here="$PWD/"
    [[ "$NB_USER" != jovyan ]] || return 0
    if [[ ! -e "$home" ]]; then
        mkdir "$home"
        if [[ "$NB_USER" == root ]]; then
            cp -a --no-preserve=ownership /home/jovyan/. "$home/"
        elif ! cp -a /home/jovyan/. "$home/"; then
            _log_warn "/home/jovyan cannot be copied, $home leads to it"
            rm -rf "$home"
            ln -s /home/jovyan "$home"
        fi
    fi
    if [[ "$here" == /home/jovyan/* ]]; then
        cd "$home/${here#/home/jovyan/}"
    fi
}

# CHOWN_HOME, CHOWN_EXTRA: folders that become the user's, such as volumes.
own_folders() {
    local folder
    # The options are words of their own.
    # shellcheck disable=SC2086
    if yes "${CHOWN_HOME:-}"; then
        chown ${CHOWN_HOME_OPTS:-} "$NB_UID:$NB_GID" "/home/$NB_USER"
    fi
    for folder in ${CHOWN_EXTRA//,/ }; do
        # shellcheck disable=SC2086
        chown ${CHOWN_EXTRA_OPTS:-} "$NB_UID:$NB_GID" "$folder"
    done
}

# GRANT_SUDO: the user may do everything. Commands of the environment are found under sudo in any case.
set_up_sudo() {
    local system=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    echo "Defaults secure_path=\"${CONDA_DIR:+$CONDA_DIR/bin:}$system\"" >/etc/sudoers.d/path
    if yes "${GRANT_SUDO:-}"; then
        echo "$NB_USER ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/added-by-start-script
    fi
}

# Programs fail on a user id without a name; /etc/passwd may be written by the group 0.
name_current_user() {
    ! whoami &>/dev/null || return 0
    if [[ ! -w /etc/passwd ]]; then
        _log_warn "the user id $(id -u) has no name, and only the group 0 may give it one: try --user=$(id -u):0"
        return 0
    fi
    local known
    known="$(sed 's/^jovyan:/nayvoj:/' /etc/passwd)"
    printf '%s\n' "$known" "$NB_USER:x:$(id -u):$(id -g):,,,:/home/jovyan:/bin/bash" >/etc/passwd
    _log_info "the user id $(id -u) is called $NB_USER"
}

# What was asked for and only root can do.
tell_what_needs_root() {
    local name uid gid
    name="$(id -un 2>/dev/null)" uid="$(id -u jovyan 2>/dev/null)" gid="$(id -g jovyan 2>/dev/null)"
    if yes "${GRANT_SUDO:-}"; then
        _log_warn 'GRANT_SUDO needs a container that is started as root'
    fi
    if [[ "$NB_USER" != jovyan && "$NB_USER" != "$name" ]]; then
        _log_warn "NB_USER=$NB_USER needs a container that is started as root"
    fi
    if [[ "$NB_UID" != "$uid" && "$NB_UID" != "$(id -u)" ]]; then
        _log_warn "NB_UID=$NB_UID needs a container that is started as root"
    fi
    if [[ "$NB_GID" != "$gid" && "$NB_GID" != "$(id -g)" ]]; then
        _log_warn "NB_GID=$NB_GID needs a container that is started as root"
    fi
    if [[ ! -w /home/jovyan ]]; then
        _log_warn '/home/jovyan cannot be written: try --group-add=users'
    fi
}

become() {
    _log_info "as $(whoami 2>/dev/null || id -u):" "$@"
    exec "$@"
}

[[ $# -gt 0 ]] || set -- bash
if [[ "${_START_SH_EXECUTED:-}" == 1 ]]; then
    _log_warn 'start.sh is the entry point already, it need not be named in the command'
    become "$@"
fi
export _START_SH_EXECUTED=1

# Sourced scripts see the arguments given here, and not the command.
source /usr/local/bin/run-hooks.sh /usr/local/bin/start-notebook.d
if [[ $EUID -ne 0 ]]; then
    name_current_user
    tell_what_needs_root
    source /usr/local/bin/run-hooks.sh /usr/local/bin/before-notebook.d
    forget_variables
    become "$@"
fi

rename_user
renumber_user
move_home
own_folders
set_up_sudo
source /usr/local/bin/run-hooks.sh /usr/local/bin/before-notebook.d
forget_variables
if [[ "$NB_USER" == root ]]; then
    HOME=/home/root become "$@"
fi
_log_info "as $NB_USER:" "$@"
# sudo keeps most variables when asked to, but these only where they are named.
exec sudo --preserve-env --set-home --user "$NB_USER" \
    LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" PATH="$PATH" PYTHONPATH="${PYTHONPATH:-}" "$@"
