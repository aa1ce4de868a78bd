#!/usr/bin/env bash
# Runs the linter and the tests; arguments go to pytest. Sets up .venv by itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
cd "$repository"
"$venv_python" -m ruff check .
# Two processes, a file in one of them: the tests take half as long on two cores. Where one of them dies, the run ends.
exec "$venv_python" -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 "$@"
