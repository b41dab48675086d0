#!/bin/sh
# Prepares Airflow's database, the pools that tasks wait for, and the login of `admin`.
# May be run again at any time.
set -eu

airflow db migrate
airflow pools set gpu "$GPU_SLOTS" "Embedding tasks that run at a time"
airflow pools set kafka 1 "One landing at a time, so that it has all partitions"

umask 077
python - <<'PASSWORDS'
import json, os
from pathlib import Path

path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
path.write_text(json.dumps({"admin": os.environ["AIRFLOW_PASSWORD"]}))
PASSWORDS
