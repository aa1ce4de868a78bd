#!/usr/bin/env bash
# Makes .venv in the checkout, or brings it up to date, and sets $venv_python. Sourced by demo.sh and test.sh.
# Needs Python >= 3.10 with pip; $PYTHON names another interpreter than the first one found.
# A stamp in .venv (hash of pyproject.toml, the pinned versions and the interpreter) tells whether there is anything to do.

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$repository/.venv"
stamp="$venv/.segment-anything-med"

runs_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        if runs_python "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    echo "error: no Python >= 3.10 found; install one, or name it: PYTHON=/path/to/python bash $0" >&2
    return 1
}

find_venv_python() {
    local candidate
    for candidate in "$venv/bin/python" "$venv/Scripts/python.exe"; do
        if runs_python "$candidate"; then
            venv_python="$candidate"
            return 0
        fi
    done
    return 1
}

# Some Linux distributions ship venv without ensurepip: then the pip of the interpreter puts a pip into the environment.
make_venv() {
    local python="$1" packages
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 && find_venv_python && return 0
    "$python" -m venv --clear --without-pip "$venv" && find_venv_python || return 1
    packages="$("$venv_python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
    "$python" -m pip install --quiet --disable-pip-version-check --target "$packages" pip
}

current_stamp() {
    "$venv_python" - "$repository" <<'PYTHON'
import hashlib, pathlib, sys

digest = hashlib.sha256(f"{sys.version} {sys.prefix}".encode())
for name in ("pyproject.toml", "constraints.txt", "scripts/sam2.txt"):
    digest.update(pathlib.Path(sys.argv[1], name).read_bytes())
print(digest.hexdigest())
PYTHON
}

# Optional: SAM 2. Its build imports torch, so it comes second and without build isolation; its CUDA code is not used here.
install_sam2() {
    local install=("$venv_python" -m pip install "$@" --no-compile --disable-pip-version-check)
    (
        cd "$repository" &&
            "${install[@]}" --constraint constraints.txt setuptools wheel hydra-core iopath &&
            SAM2_BUILD_CUDA=0 "${install[@]}" --no-build-isolation --no-deps --requirement scripts/sam2.txt
    ) || echo "The optional package sam2 could not be installed: SAM 2 is not available, and its tests are skipped." >&2
}

setup_env() {
    if ! find_venv_python; then
        local python
        python="$(find_python)" || return 1
        echo "Making $venv with $("$python" --version) ..."
        make_venv "$python" || return 1
    fi
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(current_stamp)" ]; then
        return 0
    fi
    rm -f "$stamp"
    echo "Installing into $venv; the first time this downloads torch (gigabytes on Linux) and takes minutes ..."
    local quiet="--quiet"
    [ ! -t 1 ] || quiet="" # on a terminal pip shows its progress bars
    # --no-compile: byte code of all of torch costs a minute; Python compiles what it imports anyway.
    (
        cd "$repository" &&
            "$venv_python" -m pip install $quiet --no-compile --disable-pip-version-check \
                --constraint constraints.txt "torch==2.12.0" "torchvision==0.27.0" --editable ".[test]"
    ) || return 1
    install_sam2 $quiet
    current_stamp >"$stamp"
}

setup_env || exit 1
