"""Which failures of a task are worth another try: outages, not mistakes.

Imported by the DAGs beside it, whose folder Airflow puts on the path; it holds no DAG itself.
"""

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

OUTAGES_ALONE = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            # The steps raise it where a setting, a parameter or data must be changed by somebody.
            exception=["builtins.ValueError", "builtins.ImportError"],
            action=RetryAction.FAIL,
            reason="what is wrong stays wrong until somebody changes it",
        )
    ]
)
