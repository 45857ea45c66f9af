#!/usr/bin/env bash
# sbatch cluster/slurm.sh SPACE MANIFEST [divita options]
# One Ray node a Slurm node; the workspace must lie on the shared filesystem.
#SBATCH --job-name=divita
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
# Two minutes before its time is over the job is told to end; it does so in order, and a job that is queued again goes on.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

space=$1 manifest=$2
shift 2
source .venv/bin/activate
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname --ip-address | cut -d' ' -f1)
port=$((20000 + SLURM_JOB_ID % 20000))

srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" -w "${nodes[0]}" \
  ray start --head --node-ip-address="$head_ip" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" -w "$node" \
    ray start --address="$head_ip:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done

# The cluster is up when every node is.
for _ in $(seq 60); do
  up=$(python -c "import ray; ray.init('$head_ip:$port', logging_level='ERROR'); print(len(ray.nodes()))" 2>/dev/null || echo 0)
  [ "$up" -ge "${#nodes[@]}" ] && break
  sleep 5
done
exec divita run "$space" -d "$manifest" --address "$head_ip:$port" "$@"
