#!/usr/bin/env bash
# The Slurm recipe of doc/operations.md on a real Slurm (Debian: slurm-wlm, munge): two virtual nodes on this machine, an
# array of four shards, one of them requeued in the middle of its work, SIGTERM before the time limit, and the merge that
# waits for the array. What came out is compared with the manifest, and with what the API was asked for.
. "$(dirname "$0")/lib.sh"
for program in slurmctld slurmd sbatch munged; do
    command -v "$program" > /dev/null || { echo "$program is not installed (Debian: slurm-wlm munge)" >&2; exit 2; }
done
rows=${ROWS:-1200}
start_sandbox "$rows" 8000
# the request log of the sandbox is not read here: the shards' summaries have the numbers
export EXPORTER_RATE=${RATE:-120/3s}

slurm=$work/slurm
mkdir -p "$slurm/state" "$slurm/log" "$slurm/munge"
chmod 700 "$slurm/munge"
dd if=/dev/urandom of="$slurm/munge/key" bs=1 count=1024 2> /dev/null
chmod 400 "$slurm/munge/key"
chmod 755 "$work" "$slurm"
munged --foreground --force --key-file "$slurm/munge/key" --socket "$slurm/munge.socket" --pid-file "$slurm/munge/pid" \
    --log-file "$slurm/munge/log" --seed-file "$slurm/munge/seed" > "$slurm/log/munged" 2>&1 &
pids+=($!)

cat > "$slurm/slurm.conf" << CONF
ClusterName=soak
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job waits until its old credential has expired
AuthInfo=socket=$slurm/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=16817
StateSaveLocation=$slurm/state
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmctldLogFile=$slurm/log/slurmctld
SlurmdSpoolDir=$slurm/%n
SlurmdPidFile=$slurm/%n.pid
SlurmdLogFile=$slurm/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=30
MinJobAge=600
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=1000
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=1000
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$slurm/slurm.conf
: > "$slurm/cgroup.conf"
slurmctld -D > "$slurm/log/slurmctld.out" 2>&1 &
pids+=($!)
for node in node1 node2; do
    mkdir -p "$slurm/$node"
    slurmd -D -N "$node" > "$slurm/log/$node.out" 2>&1 &
    pids+=($!)
done
for _ in $(seq 100); do
    [ "$(sinfo -h -o %t -N 2> /dev/null | grep -c idle)" = 2 ] && break
    sleep 0.3
done
[ "$(sinfo -h -o %t -N | grep -c idle)" = 2 ] || { tail -5 "$slurm"/log/* >&2; exit 2; }

# the recipe's two scripts, with this machine's paths
sed -n '/^#!\/bin\/bash$/,/^```$/p' "$root/doc/operations.md" | sed '/^```$/,$d' > "$work/exporter.sbatch"
sed -i -e "s|/shared/|$work/|g; s|^shards=.*|shards=4|; s|--array=1-8|--array=1-4|; s|--time=08:00:00|--time=00:10:00|" \
    -e "s|/usr/local/bin/exporter|$exporter|; s|--api-key-file [^ ]* ||; s|#SBATCH --mem=.*|#SBATCH --mem=100M|" \
    "$work/exporter.sbatch"
bash -n "$work/exporter.sbatch"
cd "$work"
job=$(sbatch --parsable --output="$work/%A_%a.log" exporter.sbatch)
merge=$(sbatch --parsable --output="$work/merge.log" --dependency="afterany:$job" \
    --wrap "$exporter merge $work/manifest.csv -o $work/export; echo merge: \$?")
echo "array $job, merge $merge"
requeued=no termed=no
for _ in $(seq 600); do
    if [ $requeued = no ] && [ "$(find export/data -type f 2> /dev/null | wc -l)" -gt $((rows / 4)) ]; then
        scontrol requeue "${job}_3"
        requeued=yes
    fi
    # what Slurm sends before the time limit: the script requeues its own task
    if [ $termed = no ] && [ "$(find export/data -type f 2> /dev/null | wc -l)" -gt $((rows / 3)) ]; then
        scancel --batch --signal=TERM "${job}_2"
        termed=yes
    fi
    [ -z "$(squeue -h -j "$merge" -o %t 2> /dev/null)" ] && break
    sleep 0.5
done
[ $requeued = yes ] && [ $termed = yes ] || { echo "no shard was requeued" >&2; exit 1; }
cat merge.log
grep -q '^merge: 0$' merge.log || { tail -n 20 ./*.log "$slurm"/log/slurmctld >&2; exit 1; }
"$exporter" verify export
text=$(true_report export)
runs=$("$exporter" report --runs --json export | python3 -c '
import json, sys
runs = json.load(sys.stdin)
shards = runs[:-1]
print(len(shards), sum(run["api_requests"] for run in shards), sum(run["api_429"] for run in shards))')
echo "runs, requests, 429s: $runs; $text"
[ "$text" = "delivered $rows false 0" ]
set -- $runs
# what was in flight at the requeue is asked for again
[ "$2" -le $((rows + 16)) ] && [ "$3" = 0 ]
