#!/bin/sh
# ./do demo | test | check | bench | docs   Sets itself up (.venv beside the code, from the hash-pinned locks), then runs.
set -eu
cd "$(dirname "$0")"
here=$PWD
python=${PYTHON:-python3}

usage() {
    sed -n 2p "$0" | cut -c3-
    exit 2
}

# install LOCK: bring .venv to the lock's packages unless the stamp says that it is there already.
install() {
    want=$(cksum "$1" pyproject.toml "$0" | tr '\n' ' ')
    if [ -f .venv/stamp ] && { [ "$(cat .venv/stamp)" = "$want" ] || [ "$(cat .venv/stamp)" = "$(cksum requirements-test.lock pyproject.toml "$0" | tr '\n' ' ')" ]; }; then
        return
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "shipway needs Python 3.11 or newer, and $python is $("$python" -V 2>&1)" >&2
        echo "  fix: PYTHON=/path/to/python3.11 ./do ${verb}" >&2
        exit 3
    }
    echo "setting up .venv from $1 (once; about a minute)" >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
    echo "$want" > .venv/stamp
}

verb=${1:-}
[ -n "$verb" ] && shift
case $verb in
demo)
    install requirements.lock
    exec .venv/bin/shipway demo "$@"
    ;;
test)
    install requirements-test.lock
    exec .venv/bin/python -m pytest "$@"
    ;;
check)
    install requirements-test.lock
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy
    .venv/bin/lint-imports
    ;;
bench)
    install requirements-test.lock
    exec .venv/bin/python bench/run.py "$@"
    ;;
docs)
    install requirements-test.lock
    .venv/bin/python docs/build.py "$@"
    exec .venv/bin/python docs/closing.py "$@"
    ;;
*)
    usage
    ;;
esac
