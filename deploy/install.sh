#!/bin/sh
# Installs the project into a virtual environment, with the versions in constraints.txt.
#
#   sh deploy/install.sh PYTHON VENV REQUIREMENT
#
# A bare Debian lacks two things that pip cannot bring: the venv module (python3-venv) and the OpenMP
# library that LightGBM links against (libgomp1). As root both are installed, otherwise the command
# that installs them is shown.
set -eu
python=$1 venv=$2 requirement=$3

debian_package() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq "$1"
    else
        echo "ponder needs the Debian package $1: sudo apt-get install $1" >&2
        exit 1
    fi
}

"$python" - <<'CHECK' || { echo "ponder needs Python 3.11 or 3.12: make PYTHON=python3.11" >&2; exit 1; }
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
CHECK
"$python" -c "import ensurepip" 2>/dev/null || debian_package "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || debian_package libgomp1

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "installing $requirement into $venv (2 GB; minutes the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable "$requirement"
