#!/bin/sh
# Starts an Airflow of one's own on this machine: scheduler, UI, dag processor and triggerer, with
# Ponder's DAGs, the pools that their tasks wait for, and a home that every task shares. For trying
# things out: SQLite, and a login for anybody who can read the password's file. Ctrl-C ends it.
#
#   deploy/airflow-here.sh BIN HOME [PORT]
#
# BIN is the folder of python and airflow, HOME the deployment's (made absolute here). Variables
# PONDER_* that are set already hold. Without PONDER_KAFKA and PONDER_DATA a catalogue is generated
# for the DAG `nightly` to land.
set -eu

bin=$(cd "$1" && pwd)
mkdir -p "$2"
home=$(cd "$2" && pwd)
port=${3:-8080}
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$bin:$PATH

export AIRFLOW_HOME="${AIRFLOW_HOME:-$home/airflow}"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__PARALLELISM="${AIRFLOW__CORE__PARALLELISM:-2}"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$port/execution/"
export AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT=60 # one API process answers UI and tasks
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT="$port"
export AIRFLOW__API__WORKERS=1
export AIRFLOW__API__BASE_URL="http://127.0.0.1:$port"
export PONDER_HOME="${PONDER_HOME:-$home}"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

if [ -z "${PONDER_KAFKA:-}" ] && [ -z "${PONDER_DATA:-}" ]; then
    export PONDER_DATA="$home/bazaar"
    [ -d "$PONDER_DATA" ] || python -m ponder bazaar "$PONDER_DATA" --items 120 --users 20 --weeks 3
fi

umask 077
airflow db migrate
airflow pools set gpu 1 "Embedding tasks that run at a time"
airflow pools set kafka 1 "One landing at a time, so that it has all partitions"
python -m ponder doctor || echo "Airflow starts all the same; see above what to do." >&2

echo "The UI comes up at $AIRFLOW__API__BASE_URL; user admin, password in" \
    "$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated"
# Standalone leaves its children behind when it is stopped: they go with a process group of their own.
python -c 'import os; os.setsid(); os.execvp("airflow", ["airflow", "standalone"])' &
trap 'kill -s TERM -- -$!; wait $!; exit 0' INT TERM
wait $!
