#!/usr/bin/env bash
# Caption a rendered dataset as a SLURM array; each task takes its slice of the shards:
#
#   sbatch slurm_caption.sh /shared/dataset
#   sbatch --array=0-31 slurm_caption.sh /shared/dataset --set captions.options.model=/models/instructblip
#
# What follows the dataset goes to `mvcap caption` as it is. A task that SLURM ends or preempts, or that
# loses its node, may be submitted again: it goes on from the committed shards. Exit code 3 says that some
# views failed; the task that finishes the dataset names them.
#SBATCH --job-name=mvcap-caption
#SBATCH --array=0-7
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --mem=48G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --output=mvcap-caption-%A-%a.log
set -euo pipefail

dataset=${1:?usage: sbatch slurm_caption.sh DATASET [OPTIONS-OF-CAPTION...]}
shift
# `exec` hands SLURM's signals to mvcap itself. A task has one GPU, so that it needs no Ray.
exec mvcap caption "$dataset" --runner local "$@"
