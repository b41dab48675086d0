"""Tell a person that a task has failed or a run is late, by a webhook."""

import asyncio
import json
import logging
import urllib.request
from typing import Any

from ponder.settings import Settings
from ponder.settings_sources import load_settings

POST_S = 10.0

logger = logging.getLogger(__name__)


def post_alert(settings: Settings, text: str) -> bool:
    """Post a text to the deployment's webhook; return whether it was taken.

    The body is `{"text": ...}`, as Slack's incoming webhooks and those of many others take it. What
    goes wrong is logged and not raised: an alert must not be what a task fails of.
    """
    address = settings.alert_webhook.get_secret_value()
    if not address:
        return False
    request = urllib.request.Request(
        address,
        data=json.dumps({"text": text}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=POST_S).close()
    except OSError as error:  # its text may name the address, which is secret
        logger.warning("an alert could not be posted: %s", type(error).__name__)
        return False
    return True


async def tell_late(dag_id: str, hours: float, **context: Any) -> None:
    """Tell that a run of a DAG is not done so many hours after it was queued; for Airflow."""
    text = f"a run of {dag_id} was queued {hours:g} hours ago and is not done"
    await asyncio.to_thread(post_alert, load_settings(), text)
