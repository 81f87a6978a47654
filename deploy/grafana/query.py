"""How the dashboards ask Prometheus: selectors that follow the variables."""

# Of a series of the coordinator, and of a series of a job.
FLEET = 'job=~"$job", instance=~"$instance"'
JOB = FLEET + ', job_id=~"$job_id"'


def fleet(name, more=""):
    return f"{name}{{{FLEET}{', ' + more if more else ''}}}"


def of_job(name, more=""):
    return f"{name}{{{JOB}{', ' + more if more else ''}}}"


def per_second(series):
    return f"rate({series}[$__rate_interval])"


def increase(series):
    return f"increase({series}[$__rate_interval])"


def of_attempt(expression):
    """Of the chosen attempts only; `residual` becomes a label of the series.

    birkhoff_job_info is 1 and shows the attempt that was the latest at the time.
    """
    info = of_job("birkhoff_job_info", 'attempt=~"$attempt"')
    return f"{expression} * on (job, instance, job_id) group_left (residual, attempt) {info}"


def by_depth(series):
    """Sub-layers in the order of their numbers: Prometheus sorts labels as text."""
    padded = series
    for pattern, zeros in (("(.)", "00"), ("(..)", "0"), ("(.{3,})", "")):
        padded = f'label_replace({padded}, "depth", "{zeros}$1", "sublayer", "{pattern}")'
    return padded


def quantile(q, name, labels=""):
    by = f"le{', ' + labels if labels else ''}"
    select = of_job if name.startswith("birkhoff_step") else fleet
    return f"histogram_quantile({q}, sum by ({by}) ({per_second(select(name + '_bucket'))}))"
