# What every shell on a machine of the cluster knows. Ray starts a fresh one for each of its
# commands and for `ray exec`, so cluster/setup.sh has ~/.bashrc and ~/.profile read this file.
case ":$PATH:" in
    *":$HOME/drmn/.venv/bin:"*) ;;
    *) export PATH="$HOME/drmn/.venv/bin:$PATH" ;;
esac
export RAY_AUTH_MODE=token                           # who has no ~/.ray/auth_token is refused
export MLFLOW_TRACKING_URI=http://127.0.0.1:5000     # of the head, where drivers run
export DRMN_SCRATCH="$HOME/.cache/drmn"              # this machine's own copies of feature stores
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=90      # from a machine's notice to its end
export RAY_worker_maximum_startup_concurrency=32     # the head has no core for trials, but starts many
