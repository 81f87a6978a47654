"""All jobs, the workers, the queue, and the coordinator itself."""

from page import page
from panel import curves, number, rows
from query import fleet, increase, of_job, per_second, quantile


def _now():
    return [
        number("Workers", "Workers by state.", "none", f"sum by (state) ({fleet('birkhoff_workers')})", "{{state}}",
               alerts=["BirkhoffWorkerLost"]),
        number("Queue", "Jobs that wait for workers.", "none", fleet("birkhoff_queue_length"), "{{instance}}",
               alerts=["BirkhoffQueueStuck"]),
        number("Longest wait", "How long the job has waited that waits longest; absent where none waits.", "s",
               f"time() - {fleet('birkhoff_queue_oldest_timestamp_seconds')}", "{{instance}}",
               alerts=["BirkhoffQueueStuck"], limits=[(1800, "orange")]),
        number("Coordinators", "1 for each coordinator that Prometheus reaches.", "none", fleet("up"), "{{instance}}",
               alerts=["BirkhoffCoordinatorDown", "BirkhoffMetricsAbsent"]),
        number("Store", "1 while the job store refuses events.", "none", fleet("birkhoff_store_refuses"), "{{instance}}",
               alerts=["BirkhoffStoreRefuses"], limits=[(1, "red")]),
        number("Version", "Version of each coordinator.", "none", fleet("birkhoff_build_info"), "{{version}}", names=True),
    ]


def _jobs():
    return [
        rows("Jobs", "Every job that is alive or has ended within 15 minutes.", "none",
             [(f"{of_job('birkhoff_job_state')} == 1", "present"),
              (of_job("birkhoff_training_step"), "step"),
              (of_job("birkhoff_restarts_total"), "restarts"),
              (of_job("birkhoff_goodput_ratio"), "goodput"),
              (of_job("birkhoff_checkpoint_last_step"), "checkpoint at step")],
             alerts=["BirkhoffJobFailed", "BirkhoffRestartLoop"], size=(16, 8), hide=("__name__", "job", "instance")),
        rows("Firing alerts", "Alerts of Birkhoff's rules that fire now.", "none",
             [('count by (alertname, severity, job_id) (ALERTS{alertname=~"Birkhoff.+", alertstate="firing"})', "alerts")],
             size=(8, 8)),
        curves("Jobs by state", "How many jobs are in each state.", "none",
               [(f"sum by (state) ({of_job('birkhoff_job_state')})", "{{state}}")],
               alerts=["BirkhoffJobDoesNotStart"], stacked=True, from_zero=True),
        curves("Goodput", "Share of new work of each job's time outside the queue, over its life and over the last hour.",
               "percentunit",
               [(of_job("birkhoff_goodput_ratio"), "{{job_id}}"),
                ('job_id:birkhoff_goodput:ratio1h{job=~"$job", instance=~"$instance", job_id=~"$job_id"}',
                 "{{job_id}} last hour")],
               alerts=["BirkhoffGoodputLow"], from_zero=True),
        curves("Where the time goes", "Seconds per second that the jobs spent in each state, and in new steps.", "none",
               [(f"sum by (state) ({per_second(of_job('birkhoff_job_time_seconds_total'))})", "{{state}}"),
                (f"sum({per_second(of_job('birkhoff_productive_seconds_total'))})", "new steps")],
               alerts=["BirkhoffGoodputLow"], from_zero=True),
        curves("Queue and workers", "Jobs that wait, and workers by state.", "none",
               [(fleet("birkhoff_queue_length"), "jobs waiting"),
                (f"sum by (state) ({fleet('birkhoff_workers')})", "workers {{state}}")],
               alerts=["BirkhoffQueueStuck", "BirkhoffWorkerLost"], from_zero=True),
    ]


def _faults():
    return [
        curves("Restarts", "Attempts that were lost, as they were counted.", "none",
               [(f"sum by (job_id) ({increase(of_job('birkhoff_restarts_total'))})", "{{job_id}}")],
               alerts=["BirkhoffRestartLoop"], bars=True, from_zero=True, size=(8, 8)),
        curves("Steps since the last checkpoint", "What a fault would cost now.", "none",
               [(f"{of_job('birkhoff_training_step')} - {of_job('birkhoff_checkpoint_last_step')}", "{{job_id}}"),
                (f"3 * {of_job('birkhoff_checkpoint_interval_steps')}", "{{job_id}} limit")],
               alerts=["BirkhoffCheckpointStale"], from_zero=True, size=(8, 8)),
        curves("Checkpoints", "Checkpoints committed, and those that a rank could not write.", "none",
               [(f"sum by (job_id) ({increase(of_job('birkhoff_checkpoints_total'))})", "{{job_id}} committed"),
                (f"sum by (job_id) ({increase(of_job('birkhoff_checkpoint_failures_total'))})", "{{job_id}} failed")],
               alerts=["BirkhoffCheckpointFailed"], bars=True, from_zero=True, size=(8, 8)),
    ]


def _calls():
    handled = fleet("grpc_server_handled_total")
    failed = fleet("grpc_server_handled_total", 'grpc_code!="OK"')
    return [
        curves("Calls", "Calls ended per second, by method.", "reqps",
               [(f"sum by (grpc_method) ({per_second(handled)})", "{{grpc_method}}")], from_zero=True, size=(8, 8)),
        curves("Calls that failed", "Share of calls that ended with another code than OK, those that callers are to blame for "
               "included.", "percentunit",
               [(f"(sum({per_second(failed)}) or vector(0)) / sum({per_second(handled)})", "all methods")],
               alerts=["BirkhoffRpcErrors"], from_zero=True, size=(8, 8)),
        curves("Latency of unary calls", "Slowest hundredth, by method.", "s",
               [(quantile(0.99, "grpc_server_handling_seconds", "grpc_method"), "{{grpc_method}}")], from_zero=True,
               size=(8, 8)),
        curves("Open streams", "Streams of workers (Connect) and watchers (WatchJob).", "none",
               [(fleet("grpc_server_open_streams"), "{{grpc_method}}")], from_zero=True, size=(8, 8)),
        curves("Store commits", "Duration of a commit with its sync: median and slowest hundredth.", "s",
               [(quantile(0.5, "birkhoff_store_commit_duration_seconds", "instance"), "median"),
                (quantile(0.99, "birkhoff_store_commit_duration_seconds", "instance"), "p99")],
               alerts=["BirkhoffStoreSlow"], log=True, size=(8, 8)),
        curves("Lock", "How long the coordinator's lock is held: median and slowest hundredth.", "s",
               [(quantile(0.5, "birkhoff_lock_held_seconds", "instance"), "median"),
                (quantile(0.99, "birkhoff_lock_held_seconds", "instance"), "p99")],
               alerts=["BirkhoffCoordinatorSlow"], log=True, size=(8, 8)),
        curves("Unwritten and refused events", "Step reports that wait to be written in one go, and commits refused per "
               "second.", "none",
               [(fleet("birkhoff_store_unwritten_events"), "unwritten"),
                (per_second(fleet("birkhoff_store_commit_failures_total")), "refused per second")],
               alerts=["BirkhoffStoreRefuses"], from_zero=True, size=(8, 8)),
        curves("Process: CPU and threads", "CPU seconds per second, and threads in hundreds.", "none",
               [(per_second(fleet("process_cpu_seconds_total")), "CPU"),
                (f"{fleet('process_threads')} / 100", "threads / 100")], from_zero=True, size=(8, 8)),
        curves("Process: memory", "Memory that is resident.", "bytes",
               [(fleet("process_resident_memory_bytes"), "{{instance}}")], from_zero=True, size=(8, 8)),
        curves("Process: descriptors", "Share of the file descriptors that are open.", "percentunit",
               [(f"{fleet('process_open_fds')} / {fleet('process_max_fds')}", "{{instance}}")],
               alerts=["BirkhoffDescriptorsRunOut"], from_zero=True, size=(8, 8)),
        curves("Process: uptime", "Since when the process runs.", "s",
               [(f"time() - {fleet('process_start_time_seconds')}", "{{instance}}")],
               alerts=["BirkhoffCoordinatorRestarted"], from_zero=True, size=(8, 8)),
        curves("Series left out", "Series of single sub-layers and workers that --metrics-series-per-job has left out.", "none",
               [(of_job("birkhoff_series_left_out"), "{{job_id}}")], from_zero=True, size=(8, 8)),
    ]


def build():
    return page("birkhoff-fleet", "Fleet", "Jobs, queue, workers, goodput and faults; calls, store and process of the coordinator.",
                [("Now", _now()), ("Jobs", _jobs()), ("Faults", _faults()), ("Coordinator", _calls())], attempts=False)
