"""Refuse to start with what everybody knows, outside the profile `demo`; end with an error then."""

import base64
import os
import sys
from collections.abc import Iterator, Mapping

DEMO = {
    "AIRFLOW_PASSWORD": "demo",
    "POSTGRES_PASSWORD": "demo",
    "REDIS_PASSWORD": "demo",
    "STORE_PASSWORD": "demo-password",
    "GRAFANA_PASSWORD": "demo",
    "AIRFLOW_FERNET_KEY": "cG9uZGVyLWRlbW8ta2V5LWNoYW5nZS1tZS1wbGVhc2U=",
    "AIRFLOW_SECRET_KEY": "demo-secret-key-change-me-in-dot-env",
    "AIRFLOW_JWT_SECRET": "demo-jwt-secret-of-at-least-64-bytes-change-me-in-the-file-dot-env",
}
"""The defaults of docker-compose.yml."""

ONLY_IN = {
    "REDIS_PASSWORD": {"celery", "gpu"},
    "STORE_PASSWORD": {"store"},
    "GRAFANA_PASSWORD": {"monitoring"},
}
"""Profiles without which a secret guards nothing."""

MIN_JWT_BYTES = 64
MIN_STORE_CHARS = 8


def problems(given: Mapping[str, str]) -> Iterator[str]:
    """Tell what must be changed before anything starts."""
    profiles = {name.strip() for name in given.get("COMPOSE_PROFILES", "").split(",")}
    for name, known in DEMO.items():
        is_used = name not in ONLY_IN or bool(profiles & ONLY_IN[name])
        if is_used and "demo" not in profiles and given[name] == known:
            yield (
                f"{name} must not be the demo's, which everybody knows; set it in .env, or try "
                "things out with COMPOSE_PROFILES=demo"
            )
    try:
        is_key = len(base64.urlsafe_b64decode(given["AIRFLOW_FERNET_KEY"])) == 32
    except ValueError:
        is_key = False
    if not is_key:
        yield "AIRFLOW_FERNET_KEY must be 32 bytes in URL-safe base64; .env.example makes one"
    if len(given["AIRFLOW_JWT_SECRET"].encode()) < MIN_JWT_BYTES:
        yield f"AIRFLOW_JWT_SECRET must have at least {MIN_JWT_BYTES} bytes, as HS512 wants"
    if "store" in profiles and len(given["STORE_PASSWORD"]) < MIN_STORE_CHARS:
        yield f"STORE_PASSWORD must have at least {MIN_STORE_CHARS} characters"
    workers = profiles & {"celery", "gpu"}
    if workers and "CeleryExecutor" not in given.get("AIRFLOW_EXECUTOR", ""):
        yield (
            f"the profile {'/'.join(sorted(workers))} has workers, which nobody would give tasks; "
            "set AIRFLOW_EXECUTOR=CeleryExecutor in .env"
        )
    if "CeleryExecutor" in given.get("AIRFLOW_EXECUTOR", "") and "celery" not in profiles:
        yield "CeleryExecutor needs a worker of the queue default; add celery to COMPOSE_PROFILES"


if __name__ == "__main__":
    if found := list(problems(os.environ)):
        sys.exit("\n".join(found))
