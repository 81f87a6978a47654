"""Mistakes that people make, each planted into a good render: the checks must find every one, and say what it is."""
import dataclasses
import typing

from manifests import of_kind, workloads


@dataclasses.dataclass
class Mistake:
    name: str
    overlay: str
    plant: typing.Callable  # changes the documents
    expect: str  # part of what the checks must say


def workload(documents, component):
    return next(load for load in workloads(documents) if load.component == component)


def container(documents, component):
    return workload(documents, component).pod["containers"][0]


def one(documents, kind, name):
    return next(d for d in of_kind(documents, kind) if d["metadata"]["name"] == name)


def set_in(value, path, new):
    """A dotted path; numbers are indices."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("|")]
    for part in parents:
        value = value[part]
    value[last] = new


def pod(component, path, new):
    return lambda documents: set_in(workload(documents, component).pod, path, new)


def job(path, new):
    return lambda documents: set_in(workload(documents, "worker").job, path, new)


def document(kind, name, path, new):
    return lambda documents: set_in(one(documents, kind, name), path, new)


def argument(component, old, new):
    def plant(documents):
        args = container(documents, component)["args"]
        args[args.index(old)] = new
    return plant


def without(kind, name):
    return lambda documents: documents.remove(one(documents, kind, name))


def forget_the_grpc_rule_of_workers(documents):
    policy = one(documents, "NetworkPolicy", "birkhoff-worker")["spec"]
    policy["egress"] = [rule for rule in policy["egress"] if rule["ports"][0]["port"] != "grpc"]


def give_cluster_rights(documents):
    documents.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                      "metadata": {"name": "birkhoff", "namespace": "birkhoff"},
                      "rules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]}]})


def version_label_on_the_claim(documents):
    claim = workload(documents, "coordinator").document["spec"]["volumeClaimTemplates"][0]
    claim["metadata"]["labels"]["app.kubernetes.io/version"] = "0.1.0"


def forget_a_code(documents):
    rules = workload(documents, "worker").job["podFailurePolicy"]["rules"]
    next(r for r in rules if 71 in r.get("onExitCodes", {}).get("values", []))["onExitCodes"]["values"].remove(71)


def misspell_the_job(documents):
    config = next(d for d in of_kind(documents, "ConfigMap") if "first.yaml" in d["data"])
    config["data"]["first.yaml"] = config["data"]["first.yaml"].replace("hidden_size", "hiden_size")


def retry_a_bad_spec(documents):
    rules = workload(documents, "worker").job["podFailurePolicy"]["rules"]
    rule = next(r for r in rules if 64 in r.get("onExitCodes", {}).get("values", []))
    rule["action"] = "Count"


MISTAKES = [
    # Fields that nobody reads: an API server that is not strict drops them in silence.
    Mistake("a misspelt field of a Service", "dev", document("Service", "birkhoff-coordinator", "spec|selectors", {}),
            "'selectors' was unexpected"),
    Mistake("a misspelt field of a container", "dev", pod("worker", "containers|0|imagePullpolicy", "Always"),
            "'imagePullpolicy' was unexpected"),
    Mistake("a number where a text belongs", "dev", pod("coordinator", "containers|0|args|0", 7443), "is not of type 'string'"),
    Mistake("a misspelt field of a JobSet", "multi-node-jobset",
            document("JobSet", "birkhoff-workers", "spec|failurePolicy|maxRestart", 3), "'maxRestart' was unexpected"),
    Mistake("a misspelt field of the Job in a JobSet", "multi-node-jobset", job("backOffLimit", 3), "'backOffLimit' was unexpected"),
    Mistake("a certificate without an issuer", "cert-manager",
            lambda documents: one(documents, "Certificate", "birkhoff-worker")["spec"].pop("issuerRef"), "'issuerRef' is a required"),
    Mistake("a rule of Prometheus in a ServiceMonitor", "single-node-8gpu",
            document("ServiceMonitor", "birkhoff-coordinator", "spec|endpoints|0|intervall", "15s"), "'intervall' was unexpected"),
    # What a pod may do.
    Mistake("a root file system that can be written", "dev",
            pod("coordinator", "containers|0|securityContext|readOnlyRootFilesystem", False), "readOnlyRootFilesystem must be true"),
    Mistake("a pod that runs as root", "dev", pod("worker", "securityContext|runAsUser", 0), "runs as root"),
    Mistake("a capability that came back", "dev", pod("worker", "containers|0|securityContext|capabilities|add", ["SYS_PTRACE"]),
            "adds the capability SYS_PTRACE"),
    Mistake("a directory of the node", "multi-node-kueue", pod("worker", "volumes|0", {"name": "work", "hostPath": {"path": "/"}}),
            "is a hostPath"),
    Mistake("a namespace that allows more than is needed", "dev",
            document("Namespace", "birkhoff", "metadata|labels|pod-security.kubernetes.io/enforce", "privileged"),
            "the pods need restricted"),
    Mistake("rights in the whole cluster", "dev", give_cluster_rights, "no program talks to the API server"),
    Mistake("an image that changes", "dev", pod("worker", "containers|0|image", "birkhoff-worker:latest"), "a tag that stays"),
    Mistake("no memory limit", "dev", lambda documents: container(documents, "coordinator")["resources"].pop("limits"),
            "has no memory limit"),
    # Life.
    Mistake("liveness that asks for readiness", "dev", pod("worker", "containers|0|livenessProbe|httpGet|path", "/readyz"),
            "asks /readyz, not /livez"),
    Mistake("a probe at a port that is not there", "dev", pod("coordinator", "containers|0|readinessProbe|httpGet|port", "http"),
            "no port is named http"),
    Mistake("a grace shorter than the stop", "multi-node-kueue", pod("worker", "terminationGracePeriodSeconds", 30),
            "do not fit into 30 s"),
    Mistake("a grace longer than the notice of a spot node", "spot", pod("worker", "terminationGracePeriodSeconds", 60),
            "does not fit into a notice"),
    Mistake("two coordinators on one store", "dev",
            document("StatefulSet", "birkhoff-coordinator", "spec|replicas", 2), "exactly one replica"),
    Mistake("a store that goes with the pod", "dev", argument("coordinator", "--store=/var/lib/birkhoff/birkhoff.db", "--store=/tmp/b.db"),
            "on no volume that stays"),
    Mistake("a claim that stops every upgrade", "dev", version_label_on_the_claim, "can never change"),
    Mistake("a budget that blocks drains", "multi-node-kueue",
            document("PodDisruptionBudget", "birkhoff-coordinator", "spec|maxUnavailable", 0), "blocks every drain"),
    # The contract of exit codes.
    Mistake("an exit code that no rule has", "multi-node-kueue", forget_a_code, "None at exit code 71"),
    Mistake("a bad spec that is tried again", "multi-node-jobset", retry_a_bad_spec, "Count at exit code 64"),
    Mistake("a policy for a container that is not there", "multi-node-kueue",
            job("podFailurePolicy|rules|1|onExitCodes|containerName", "trainer"), "names the container trainer"),
    Mistake("pods that are replaced while they still write", "multi-node-kueue", job("podReplacementPolicy", "TerminatingOrFailed"),
            "needs podReplacementPolicy Failed"),
    Mistake("fewer workers than the job counts", "multi-node-kueue", job("parallelism", 8), "as many completions as parallelism"),
    Mistake("a worker whose jobs may touch everything", "dev",
            lambda documents: container(documents, "worker")["args"].remove("--allow-path=/work"), "jobs may touch whatever"),
    Mistake("a pool that leaves with its first job", "dev", argument("worker", "--device=cpu", "--once"), "--once is for Jobs"),
    # Names.
    Mistake("a Service for pods of another label", "dev",
            document("Service", "birkhoff-coordinator", "spec|selector|app.kubernetes.io/component", "server"), "takes no pods"),
    Mistake("a target port of another name", "dev", document("Service", "birkhoff-coordinator", "spec|ports|0|targetPort", "rpc"),
            "has no port named rpc"),
    Mistake("a flag that opens another port", "dev", argument("coordinator", "--listen=0.0.0.0:7443", "--listen=0.0.0.0:7444"),
            "but its flags open"),
    Mistake("a claim that is not there", "dev", without("PersistentVolumeClaim", "birkhoff-work"),
            "names PersistentVolumeClaim/birkhoff-work"),
    Mistake("a coordinator of another name", "dev", argument("worker", "--coordinator=birkhoff-coordinator:7443", "--coordinator=coordinator:7443"),
            "names Service/coordinator"),
    Mistake("a variable that is not there", "multi-node-kueue",
            lambda documents: container(documents, "worker")["env"].pop(1), "$(WORKER_SET) is no variable"),
    Mistake("a monitor at a port that is not there", "single-node-8gpu",
            document("ServiceMonitor", "birkhoff-coordinator", "spec|endpoints|0|port", "http-metrics"), "has no port named http-metrics"),
    Mistake("half a gang", "volcano", document("PodGroup", "birkhoff-workers", "spec|minMember", 1), "is not the parallelism"),
    Mistake("a queued Job that does not wait", "multi-node-kueue", document("Job", "birkhoff-workers", "spec|suspend", False),
            "must start suspended"),
    # The network.
    Mistake("no rule that denies", "dev", without("NetworkPolicy", "birkhoff-default-deny"), "none denies everything"),
    Mistake("workers that may not speak to the coordinator", "dev", forget_the_grpc_rule_of_workers,
            "worker may not speak to coordinator"),
    Mistake("gRPC for everybody", "dev",
            lambda documents: one(documents, "NetworkPolicy", "birkhoff-coordinator")["spec"]["ingress"][0].pop("from"),
            "to everybody"),
]
# What is found only where the programs are there to be asked.
WITH_PROGRAMS = [
    Mistake("a flag that the program does not have", "dev", argument("coordinator", "--allow-plaintext", "--insecure"),
            "birkhoffd has no --insecure"),
    Mistake("a job file that can never work", "dev", misspell_the_job, "did you mean"),
]
