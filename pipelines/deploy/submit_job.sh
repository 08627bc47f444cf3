#!/usr/bin/env bash
# Build a dataset as a job of a Ray cluster that stands, from any machine that reaches its dashboard:
#
#   submit_job.sh http://head:8265 --config /shared/my.yaml --out /shared/dataset
#
# What follows the address goes to `mvcap build-all` as it is; its paths are the cluster's. The job's log
# is shown until it ends. Ctrl-C ends the showing alone; `ray job stop ID` ends the job, and the same
# command goes on from the committed shards.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: submit_job.sh http://HEAD:8265 OPTIONS-OF-BUILD-ALL..." >&2
    exit 2
fi
dashboard=$1
shift
# A cluster that asks for a token gets the one that this user has.
if [ -n "${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-}" ] || [ -f "$HOME/.ray/auth_token" ]; then
    export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
fi
exec ray job submit --address "$dashboard" -- mvcap build-all --address auto "$@"
