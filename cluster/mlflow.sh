#!/bin/bash
# Starts MLflow on the head, for as long as Ray is up there: `ray down` leaves nothing behind.
# It listens on 127.0.0.1 alone: `ray attach cluster.yaml -p 5000` brings it to your machine.
. ~/drmn/cluster/environment.sh
cd ~/drmn/shared
if [ -f ~/drmn/mlflow.pid ]; then
    kill -- "-$(cat ~/drmn/mlflow.pid)" 2>/dev/null && sleep 2   # that of the Ray before this one
fi
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
setsid bash -c '
    trap "kill 0" EXIT
    python -m mlflow server --host 127.0.0.1 --port 5000 --workers 1 \
        --backend-store-uri sqlite:///mlflow.db --artifacts-destination mlartifacts &
    while pgrep -u "$(id -u)" -x gcs_server > /dev/null; do sleep 1; done
' > ~/drmn/mlflow.log 2>&1 < /dev/null &
echo $! > ~/drmn/mlflow.pid
for _ in $(seq 120); do
    curl -fs http://127.0.0.1:5000/health > /dev/null && exit 0
    sleep 1
done
echo "MLflow does not answer; its log is ~/drmn/mlflow.log" >&2
exit 1
