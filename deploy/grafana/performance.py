"""How fast it trains, and where the time and the memory go."""

from page import page
from panel import curves, number
from query import of_attempt, of_job, per_second, quantile

LEGEND = "{{job_id}} ({{residual}})"


def _speed():
    return [
        number("Tokens per second", "Target tokens per second, over the last minutes.", "locale",
               per_second(of_job("birkhoff_tokens_total")), decimals=0),
        number("Step time", "Mean duration of a step, over the job's life.", "s",
               "job_id:birkhoff_step_duration_seconds:mean{job=~\"$job\", instance=~\"$instance\", job_id=~\"$job_id\"}",
               alerts=["BirkhoffTrainingStalled"], decimals=3),
        number("MFU", "Model FLOPs utilisation of the last step; absent where the device's peak is not known.", "percentunit",
               of_job("birkhoff_model_flops_utilization"), alerts=["BirkhoffMfuLow"], decimals=1),
        number("Bubble", "Share of rank time of the last step without compute.", "percentunit",
               of_job("birkhoff_pipeline_bubble_ratio"), decimals=1),
        number("Exposed transfers", "Share of rank time of the last step without compute, but with a transfer under way.",
               "percentunit", of_job("birkhoff_exposed_transfer_ratio"), decimals=1),
        number("Goodput", "Share of the job's time outside the queue that went into new steps.", "percentunit",
               of_job("birkhoff_goodput_ratio"), alerts=["BirkhoffGoodputLow"], decimals=1),
    ]


def _throughput():
    name = "birkhoff_step_duration_seconds"
    return [
        curves("Tokens per second", "Target tokens per second.", "locale",
               [(of_attempt(per_second(of_job("birkhoff_tokens_total"))), LEGEND)], from_zero=True),
        curves("MFU", "FLOPs of matrix products over the peak of the devices; absent where the peak is not known.",
               "percentunit", [(of_attempt(of_job("birkhoff_model_flops_utilization")), LEGEND)],
               alerts=["BirkhoffMfuLow"], from_zero=True),
        curves("Step time", "Median and slowest hundredth of the steps.", "s",
               [(quantile(0.5, name, "job_id"), "{{job_id}} median"), (quantile(0.99, name, "job_id"), "{{job_id}} p99")],
               alerts=["BirkhoffTrainingStalled"], from_zero=True),
        curves("Time since the last step", "How long ago each job reported a step: it grows while a job stalls.", "s",
               [(f"time() - {of_job('birkhoff_last_step_timestamp_seconds')}", "{{job_id}}")],
               alerts=["BirkhoffTrainingStalled"], from_zero=True),
    ]


def _waiting():
    return [
        curves("Bubble and exposed transfers", "Shares of rank time of the last step: without compute, and of that with a "
               "transfer under way (posted receives included).", "percentunit",
               [(of_attempt(of_job("birkhoff_pipeline_bubble_ratio")), LEGEND + " bubble"),
                (of_attempt(of_job("birkhoff_exposed_transfer_ratio")), LEGEND + " exposed")], from_zero=True),
        curves("Compute time by worker", "Compute time of each rank in its last step. All ranks wait for the slowest.", "s",
               [(of_job("birkhoff_compute_seconds"), "{{job_id}} {{worker}}")], alerts=["BirkhoffStraggler"],
               from_zero=True),
    ]


def _memory():
    memory = of_job("birkhoff_memory_bytes")
    return [
        curves("Memory by worker", "What each rank has allocated, device and host together.", "bytes",
               [(f"sum by (job_id, worker) ({memory})", "{{job_id}} {{worker}}")], from_zero=True),
        curves("Memory by kind", "What the chosen jobs have allocated, by kind.", "bytes",
               [(f"sum by (kind) ({memory})", "{{kind}}")], stacked=True, from_zero=True),
    ]


def build():
    return page("birkhoff-performance", "Performance",
                "Throughput, utilisation, step time, bubble, exposed communication and memory of training jobs.",
                [("Now", _speed()), ("Throughput", _throughput()), ("Waiting", _waiting()), ("Memory", _memory())])
