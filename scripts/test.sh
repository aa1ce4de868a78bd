#!/usr/bin/env bash
# Runs the linter and the tests; arguments go to pytest. Sets up .venv by itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
cd "$repository"
"$venv_python" -m ruff check .
exec "$venv_python" -m pytest -q "$@"
