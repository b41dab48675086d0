"""Print an address with a password in it: address.py redis, or the scheme of a database address.

Airflow asks by its `..._CMD` settings. The password is percent-encoded, so it may hold anything.
"""

import os
import sys
from urllib.parse import quote


def address(scheme: str) -> str:
    """Return the address of the broker, or of Airflow's database."""
    if scheme == "redis":
        return f"redis://:{quote(os.environ['REDIS_PASSWORD'], safe='')}@redis:6379/0"
    return f"{scheme}://airflow:{quote(os.environ['POSTGRES_PASSWORD'], safe='')}@postgres/airflow"


if __name__ == "__main__":
    sys.stdout.write(address(sys.argv[1]))
