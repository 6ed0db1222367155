"""The search: a record of trials, a policy that chooses them, Ray that runs them."""

import os

os.environ |= {  # read when Ray is imported: only our own lines are to be seen
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # no snapshots as trials go on: a resume has the record
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # how often epochs are heard of; 2 by default
    # Groups of trials wait for machines that an autoscaler brings; 60 by default.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "1800",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the driver; the record is whole at any time
}
