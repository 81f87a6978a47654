"""Our own rules about rendered manifests, and whether what they name exists.

Every rule is a function that yields one line for each thing that is wrong.  RULES lists them; `problems` runs them all.
"""
import itertools
import os
import pathlib
import re
import subprocess
import tempfile

from manifests import CLUSTER_KINDS, DEPLOY, matches, name_of, of_kind, workloads

NAMESPACE = "birkhoff"
COORDINATOR = {"app.kubernetes.io/name": "birkhoff", "app.kubernetes.io/component": "coordinator"}
WORKER = {"app.kubernetes.io/name": "birkhoff", "app.kubernetes.io/component": "worker"}
CLIENT = {"birkhoff.dev/client": "true"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
# Names that the cluster or the site provides.
EXTERNAL = {("Secret", "birkhoff-registry"), ("PriorityClass", "system-cluster-critical")}
# Which port of a container a flag opens.
LISTENERS = {"--listen": "grpc", "--metrics-listen": "metrics", "--health-listen": "health",
             "--health-grpc-listen": "health-grpc"}
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
PROGRAMS = {"birkhoff-coordinator": "birkhoffd", "birkhoff-worker": "birkhoff-worker"}
SPOT_NOTICE = 30  # seconds, the shortest of the clouds


def exit_codes():
    """The contract, from the header that all programs share: number by name."""
    text = (DEPLOY.parent / "core/base/exit_code.h").read_text()
    found = {name: int(number) for name, number in re.findall(r"\bk(\w+)\s*=\s*(\d+)", text)}
    return {name: number for name, number in found.items() if number != 0}


# What each code must lead to.  A code that is in the header and not here is an error too.
ACTIONS = {"BadSpec": "FailJob", "Numerics": "FailJob", "Internal": "Count", "Infrastructure": "Count", "Fenced": "Ignore",
           "Stopped": "Ignore"}
KILLED = {137: "Count", 143: "Count"}


def flags(container):
    """--name=value arguments."""
    return dict(argument.partition("=")[::2] for argument in container.get("args", []) if argument.startswith("--"))


def program(container):
    if "command" in container:
        return pathlib.Path(container["command"][0]).name
    return PROGRAMS.get(container["image"].rpartition("/")[2].partition("@")[0].partition(":")[0])


def serves(container):
    """Whether it is one of the programs that stay, not one that ends by itself."""
    return program(container) in PROGRAMS.values()


def enforced_level(documents):
    return next((document["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
                 for document in of_kind(documents, "Namespace")), None)


def quantity(text):
    """Bytes."""
    number, unit = re.fullmatch(r"(\d+)([KMGT]i)?", str(text)).groups()
    return int(number) * 1024 ** ("", "Ki", "Mi", "Gi", "Ti").index(unit or "")


# --- what a pod may do ---

def pods_are_restricted(documents):
    privileged = enforced_level(documents) == "privileged"
    for load in workloads(documents):
        pod, context = load.pod, load.pod.get("securityContext", {})
        for field, wanted in (("runAsNonRoot", True), ("seccompProfile", {"type": "RuntimeDefault"})):
            if context.get(field) != wanted:
                yield f"{load.name}: securityContext.{field} must be {wanted}"
        if not context.get("runAsUser"):
            yield f"{load.name}: runs as root or as whatever the image says: runAsUser"
        for field in ("hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{load.name}: {field}"
        if pod.get("hostNetwork") and not (privileged and load.component == "worker"):
            yield f"{load.name}: hostNetwork needs a namespace that enforces privileged, and is for workers alone"
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                yield f"{load.name}: volume {volume['name']} is a hostPath"
            elif "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{load.name}: emptyDir {volume['name']} has no sizeLimit"
        for container in load.containers():
            yield from containers_are_restricted(load, container, privileged)


def containers_are_restricted(load, container, privileged):
    where = f"{load.name}: {container['name']}"
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation must be false"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{where}: readOnlyRootFilesystem must be true"
    if context.get("privileged"):
        yield f"{where}: privileged"
    capabilities = context.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"]:
        yield f"{where}: must drop ALL capabilities"
    for added in capabilities.get("add", []):
        if added != "IPC_LOCK" or not privileged or load.component != "worker":
            yield f"{where}: adds the capability {added}"
    for port in container.get("ports", []):
        if "hostPort" in port and not load.pod.get("hostNetwork"):
            yield f"{where}: port {port['name']} is a hostPort"


def namespace_is_no_laxer_than_needed(documents):
    level = enforced_level(documents)
    needs = any(load.pod.get("hostNetwork") or c["securityContext"].get("capabilities", {}).get("add")
                for load in workloads(documents) for c in load.containers())
    if level != ("privileged" if needs else "restricted"):
        yield f"Namespace/{NAMESPACE}: enforces {level}, and the pods need {'privileged' if needs else 'restricted'}"
    for document in of_kind(documents, "Namespace"):
        for key in ("audit", "warn"):
            if document["metadata"]["labels"].get(f"pod-security.kubernetes.io/{key}") != "restricted":
                yield f"{name_of(document)}: pod-security.kubernetes.io/{key} must be restricted"


def nobody_has_rights(documents):
    for document in of_kind(documents, "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
        yield f"{name_of(document)}: no program talks to the API server"
    for document in of_kind(documents, "ServiceAccount"):
        if document.get("automountServiceAccountToken") is not False:
            yield f"{name_of(document)}: automountServiceAccountToken must be false"
    for load in workloads(documents):
        if load.pod.get("automountServiceAccountToken") is not False:
            yield f"{load.name}: automountServiceAccountToken must be false"


def images_are_named(documents):
    for load in workloads(documents):
        for container in load.containers():
            image = container["image"].rpartition("/")[2]
            if "@sha256:" not in image and (":" not in image or image.endswith(":latest")):
                yield f"{load.name}: {container['name']}: image {container['image']} needs a tag that stays, or a digest"
            if container.get("imagePullPolicy") != "IfNotPresent":
                yield f"{load.name}: {container['name']}: imagePullPolicy must be IfNotPresent"


def resources_are_bounded(documents):
    for load in workloads(documents):
        for container in load.containers():
            where = f"{load.name}: {container['name']}"
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            if not {"cpu", "memory"} <= set(requests):
                yield f"{where}: must request cpu and memory"
            if "memory" not in limits:
                yield f"{where}: has no memory limit"
                continue
            for key in {*requests, *limits} - {"cpu", "memory"}:
                if requests.get(key) != limits.get(key):
                    yield f"{where}: {key} must be requested as it is limited"
            held = sum(quantity(v["emptyDir"]["sizeLimit"]) for v in load.pod.get("volumes", [])
                       if (v.get("emptyDir") or {}).get("medium") == "Memory")
            if held >= quantity(limits["memory"]):
                yield f"{where}: volumes in memory leave nothing of its limit"


# --- life ---

def probes_ask_the_right_thing(documents):
    for load in workloads(documents):
        for container in filter(serves, load.containers(init=False)):
            for probe, path in PROBES.items():
                where = f"{load.name}: {container['name']}: {probe}"
                request = container.get(probe, {}).get("httpGet")
                if request is None:
                    yield f"{where} is missing"
                    continue
                if request["path"] != path:
                    yield f"{where} asks {request['path']}, not {path}"
                if request["port"] not in {port["name"] for port in container.get("ports", [])}:
                    yield f"{where}: no port is named {request['port']}"


def stops_fit_into_their_grace(documents):
    for load in workloads(documents):
        grace = load.pod.get("terminationGracePeriodSeconds", 30)
        spot = any("spot" in (t.get("key", "") + t.get("value", "")) for t in load.pod.get("tolerations", []))
        if spot and grace >= SPOT_NOTICE:
            yield f"{load.name}: a grace of {grace} s does not fit into a notice of {SPOT_NOTICE} s"
        for container in load.containers(init=False):
            stop = flags(container).get("--stop-grace-seconds")
            if program(container) == "birkhoff-worker" and (stop is None or float(stop) + 5 > grace):
                yield f"{load.name}: a clean stop of {stop} s and 5 s more do not fit into {grace} s"


def coordinator_is_one(documents):
    for load in workloads(documents):
        spec = load.document["spec"]
        if load.component == "coordinator" and (load.document["kind"] != "StatefulSet" or spec.get("replicas") != 1):
            yield f"{load.name}: needs exactly one replica of a StatefulSet: its store is one file"
        for claim in spec.get("volumeClaimTemplates", []):
            if "app.kubernetes.io/version" in claim["metadata"].get("labels", {}):
                yield f"{load.name}: the claim {claim['metadata']['name']} has the version as a label, and can never change"
        if load.component == "coordinator" and not any(
                mount["name"] in {c["metadata"]["name"] for c in spec.get("volumeClaimTemplates", [])}
                and flags(container).get("--store", "").startswith(mount["mountPath"] + "/")
                for container in load.containers() for mount in container.get("volumeMounts", [])):
            yield f"{load.name}: the store is on no volume that stays"
    for budget in of_kind(documents, "PodDisruptionBudget"):
        spec = budget["spec"]
        for load in workloads(documents):
            replicas = load.document["spec"].get("replicas", 1)
            if matches(spec["selector"], load.labels) and (
                    spec.get("maxUnavailable") == 0 or spec.get("minAvailable", 0) >= replicas):
                yield f"{name_of(budget)}: blocks every drain of {load.name}"


def jobs_obey_the_exit_codes(documents):
    codes = exit_codes()
    wanted = {number: ACTIONS.get(name) for name, number in codes.items()} | KILLED
    for name in set(codes) - set(ACTIONS):
        yield f"exit code {codes[name]} (k{name}) has no action in policy.py"
    for load in workloads(documents):
        if load.component != "worker" or load.job is None:
            continue
        rules = load.job.get("podFailurePolicy", {}).get("rules", [])
        if load.pod.get("restartPolicy") != "Never":
            yield f"{load.name}: a podFailurePolicy needs restartPolicy Never"
        if load.job.get("podReplacementPolicy") != "Failed":
            yield f"{load.name}: a podFailurePolicy needs podReplacementPolicy Failed"
        condition = {"type": "DisruptionTarget", "status": "True"}
        if not rules or rules[0].get("action") != "Ignore" or condition not in rules[0].get("onPodConditions", []):
            yield f"{load.name}: the first rule of podFailurePolicy must ignore disruptions"
        found = {}
        for rule in rules:
            on = rule.get("onExitCodes")
            if on is None:
                continue
            if on.get("containerName") not in {container["name"] for container in load.containers()}:
                yield f"{load.name}: podFailurePolicy names the container {on.get('containerName')}, which is not there"
            if on["operator"] != "In":
                yield f"{load.name}: podFailurePolicy must list its codes with In"
            for code in on["values"]:
                found.setdefault(code, rule["action"])
        for code in sorted({*wanted, *found}):
            if found.get(code) != wanted.get(code):
                yield (f"{load.name}: podFailurePolicy does {found.get(code)} at exit code {code}; "
                       f"the contract says {wanted.get(code)}")
        if load.job.get("completionMode") != "Indexed" or load.job.get("parallelism") != load.job.get("completions"):
            yield f"{load.name}: must be Indexed, with as many completions as parallelism"


def workers_end_as_they_are_started(documents):
    for load in workloads(documents):
        for container in load.containers(init=False):
            if program(container) != "birkhoff-worker":
                continue
            if "--allow-path" not in flags(container):
                yield f"{load.name}: jobs may touch whatever the worker can: --allow-path"
            if {"--once", "--give-up-seconds"} & set(flags(container)) and load.job is None:
                yield f"{load.name}: --once and --give-up-seconds are for Jobs"
            if ("--once" in flags(container)) != (load.job is not None):
                yield f"{load.name}: --once is for Jobs, and for them alone"
            device, gpus = flags(container).get("--device"), container["resources"]["limits"].get("nvidia.com/gpu")
            if (device == "cuda") != (gpus is not None):
                yield f"{load.name}: --device={device} with {gpus or 'no'} GPU"


# --- what is named exists ---

def flags_open_the_ports_that_are_named(documents):
    for load in workloads(documents):
        for container in filter(serves, load.containers(init=False)):
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            opened = {LISTENERS[flag]: int(value.rpartition(":")[2])
                      for flag, value in flags(container).items() if flag in LISTENERS}
            if ports != opened:
                yield f"{load.name}: {container['name']}: ports {ports} but its flags open {opened}"


def arguments_are_the_programs_own(documents):
    """Needs the programs, in BIRKHOFF_BIN."""
    for load in workloads(documents):
        for container in load.containers():
            names = {variable["name"] for variable in container.get("env", [])}
            for used in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []))):
                if used not in names:
                    yield f"{load.name}: {container['name']}: $({used}) is no variable of the container"
            known = known_flags(program(container), tuple(a for a in container.get("args", []) if a.isalpha()))
            for flag in flags(container):
                if known is not None and flag not in known:
                    yield f"{load.name}: {container['name']}: {program(container)} has no {flag}"


helps = {}


def known_flags(name, verbs):
    """The flags of a program and its verbs, from its own help; None without programs to ask."""
    folder = os.environ.get("BIRKHOFF_BIN")
    if folder is None or name is None:
        return None
    if (name, verbs) not in helps:
        text = "".join(
            subprocess.run([pathlib.Path(folder) / name, *words, "--help"], capture_output=True, text=True, check=True).stdout
            for words in ([], verbs))
        helps[name, verbs] = set(re.findall(r"--[a-z][a-z-]*", text))
    return helps[name, verbs]


def job_files_are_valid(documents):
    """Job files in ConfigMaps; needs the programs."""
    folder = os.environ.get("BIRKHOFF_BIN")
    for config in of_kind(documents, "ConfigMap"):
        for key, text in config.get("data", {}).items():
            if folder is None or not key.endswith(".yaml"):
                continue
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(text)
                file.flush()
                told = subprocess.run([pathlib.Path(folder) / "birkhoff", "validate", "--spec-only", file.name],
                                      capture_output=True, text=True)
            if told.returncode != 0:
                yield f"{name_of(config)}: {key}: {told.stderr.strip()}"


def references_exist(documents):
    have = {(document["kind"], document["metadata"]["name"]) for document in documents} | EXTERNAL
    have |= {("Secret", document["spec"]["secretName"]) for document in of_kind(documents, "Certificate")}

    def wanted():
        for load in workloads(documents):
            pod = load.pod
            yield load.name, "ServiceAccount", pod.get("serviceAccountName", "default")
            for secret in pod.get("imagePullSecrets", []):
                yield load.name, "Secret", secret["name"]
            for volume in pod.get("volumes", []):
                for key, kind, field in (("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
                                         ("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                    if key in volume:
                        yield load.name, kind, volume[key][field]
            group = load.template.get("metadata", {}).get("annotations", {}).get("scheduling.k8s.io/group-name")
            if group is not None:
                yield load.name, "PodGroup", group
            queue = load.document["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
            if queue is not None:
                yield load.name, "LocalQueue", queue
            if load.document["kind"] == "StatefulSet":
                yield load.name, "Service", load.document["spec"]["serviceName"]
            for container in load.containers():
                server = flags(container).get("--coordinator") or flags(container).get("--server")
                if server:
                    yield load.name, "Service", server.partition(":")[0]
        for document in of_kind(documents, "Certificate"):
            yield name_of(document), "Issuer", document["spec"]["issuerRef"]["name"]
        for document in of_kind(documents, "Issuer"):
            if "ca" in document["spec"]:
                yield name_of(document), "Secret", document["spec"]["ca"]["secretName"]

    for who, kind, name in wanted():
        if (kind, name) not in have:
            yield f"{who}: names {kind}/{name}, which is not there"


def mounts_have_volumes(documents):
    for load in workloads(documents):
        claims = load.document["spec"].get("volumeClaimTemplates", [])
        have = {v["name"] for v in load.pod.get("volumes", [])} | {c["metadata"]["name"] for c in claims}
        used = {m["name"] for c in load.containers() for m in c.get("volumeMounts", [])}
        for name in sorted(used ^ have):
            yield f"{load.name}: volume {name} is {'mounted and not there' if name in used else 'there and not mounted'}"


def gangs_are_whole(documents):
    for load in workloads(documents):
        annotations = load.template.get("metadata", {}).get("annotations", {})
        for group in of_kind(documents, "PodGroup"):
            if annotations.get("scheduling.k8s.io/group-name") == group["metadata"]["name"]:
                if load.job is None or group["spec"]["minMember"] != load.job["parallelism"]:
                    yield f"{name_of(group)}: minMember is not the parallelism of {load.name}"
                if load.pod.get("schedulerName") != "volcano":
                    yield f"{load.name}: is in a PodGroup of Volcano, and not scheduled by it"
        queued = "kueue.x-k8s.io/queue-name" in load.document["metadata"].get("labels", {})
        if queued and load.document["spec"].get("suspend") is not True:
            yield f"{load.name}: is queued by Kueue, and must start suspended"


def selectors_take_pods(documents):
    loads = workloads(documents)
    for load in loads:
        selector = load.document["spec"].get("selector")
        if load.job is None and not matches(selector, load.labels):
            yield f"{load.name}: its selector does not take its own pods"
    for service in of_kind(documents, "Service"):
        taken = [load for load in loads if matches({"matchLabels": service["spec"]["selector"]}, load.labels)]
        if not taken:
            yield f"{name_of(service)}: its selector takes no pods"
        for load, port in itertools.product(taken, service["spec"]["ports"]):
            if port.get("targetPort") not in load.ports():
                yield f"{name_of(service)}: {load.name} has no port named {port.get('targetPort')}"
            elif port["port"] != load.ports()[port["targetPort"]]:
                yield f"{name_of(service)}: port {port['name']} is {port['port']} outside and another inside"
    for monitor in of_kind(documents, "ServiceMonitor"):
        services = [s for s in of_kind(documents, "Service")
                    if matches(monitor["spec"]["selector"], s["metadata"].get("labels", {}))]
        if len(services) != 1:
            yield f"{name_of(monitor)}: takes {len(services)} Services; need one"
        for service, endpoint in itertools.product(services, monitor["spec"]["endpoints"]):
            if endpoint["port"] not in {port["name"] for port in service["spec"]["ports"]}:
                yield f"{name_of(monitor)}: {name_of(service)} has no port named {endpoint['port']}"
    for monitor in of_kind(documents, "PodMonitor"):
        taken = [load for load in loads if matches(monitor["spec"]["selector"], load.labels)]
        if not taken:
            yield f"{name_of(monitor)}: its selector takes no pods"
        for load, endpoint in itertools.product(taken, monitor["spec"]["podMetricsEndpoints"]):
            if endpoint["port"] not in load.ports():
                yield f"{name_of(monitor)}: {load.name} has no port named {endpoint['port']}"


# --- the network ---

def network_is_closed(documents):
    policies = of_kind(documents, "NetworkPolicy")
    loads = workloads(documents)
    if not any(p["spec"]["podSelector"] == {} and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"}
               and not p["spec"].get("ingress") and not p["spec"].get("egress") for p in policies):
        yield "NetworkPolicy: none denies everything by default"
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            names = {port.get("port") for port in rule.get("ports", [])}
            if not names:
                yield f"{name_of(policy)}: a rule for ingress without ports"
            if not rule.get("from"):
                yield f"{name_of(policy)}: opens {sorted(map(str, names))} to everybody"
            for load, port in itertools.product(loads, sorted(map(str, names))):
                taken = matches(policy["spec"]["podSelector"], load.labels)
                exists = port in load.ports() or port.isdigit()
                if taken and not exists and not is_everybody(policy, loads):
                    yield f"{name_of(policy)}: {load.name} has no port named {port}"
        for rule in policy["spec"].get("egress", []):
            if not rule.get("to") or not rule.get("ports"):
                yield f"{name_of(policy)}: a rule for egress must say to whom and by which port"
            for load, peer, port in itertools.product(loads, rule.get("to", []), rule.get("ports", [])):
                to = peer.get("podSelector")
                if to is not None and matches(to, load.labels) and isinstance(port["port"], str) and port["port"] not in load.ports():
                    yield f"{name_of(policy)}: {load.name} has no port named {port['port']}"


def is_everybody(policy, loads):
    """Takes pods of several components: then a name need not exist in all of them."""
    return len({load.component for load in loads if matches(policy["spec"]["podSelector"], load.labels)}) > 1


def flows_that_are_needed_are_open(documents):
    policies = of_kind(documents, "NetworkPolicy")

    def allows(side, mine, theirs, port, namespace=None):
        for policy in policies:
            if not matches(policy["spec"]["podSelector"], mine):
                continue
            for rule in policy["spec"].get(side, []):
                by_port = any(p["port"] == port or (isinstance(port, int) and isinstance(p["port"], int)
                              and p["port"] <= port <= p.get("endPort", p["port"])) for p in rule.get("ports", []))
                peers = rule.get("from" if side == "ingress" else "to")
                by_peer = peers is None or any(
                    (("namespaceSelector" in peer) == (namespace is not None))
                    and matches(peer.get("namespaceSelector", {}), {"kubernetes.io/metadata.name": namespace})
                    and matches(peer.get("podSelector", {}), theirs) for peer in peers)
                if by_port and by_peer:
                    return True
        return False

    has_client = any(load.labels.get("birkhoff.dev/client") for load in workloads(documents))
    flows = [("worker", WORKER, "coordinator", COORDINATOR, "grpc"), ("worker", WORKER, "worker", WORKER, 40000)]
    flows += [("client", CLIENT, "coordinator", COORDINATOR, "grpc")] if has_client else []
    for who, sender, whom, receiver, port in flows:
        if not allows("egress", sender, receiver, port):
            yield f"NetworkPolicy: {who} may not speak to {whom} at {port}"
        if not allows("ingress", receiver, sender, port):
            yield f"NetworkPolicy: {whom} does not hear {who} at {port}"
    if not allows("egress", WORKER, {}, 53, namespace="kube-system"):
        yield "NetworkPolicy: workers may not ask for names"
    monitored = of_kind(documents, "ServiceMonitor")
    if monitored and not allows("ingress", COORDINATOR, PROMETHEUS, "metrics", namespace="monitoring"):
        yield "NetworkPolicy: Prometheus may not scrape the coordinator"
    if of_kind(documents, "PodMonitor") and not allows("ingress", WORKER, PROMETHEUS, "metrics", namespace="monitoring"):
        yield "NetworkPolicy: Prometheus may not scrape workers"


def everything_is_in_the_namespace(documents):
    names = [name_of(document) for document in documents]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name}: is there twice"
    for document in documents:
        if document["kind"] not in CLUSTER_KINDS and document["metadata"].get("namespace") != NAMESPACE:
            yield f"{name_of(document)}: is not in the namespace {NAMESPACE}"


RULES = [
    pods_are_restricted, namespace_is_no_laxer_than_needed, nobody_has_rights, images_are_named, resources_are_bounded,
    probes_ask_the_right_thing, stops_fit_into_their_grace, coordinator_is_one, jobs_obey_the_exit_codes,
    workers_end_as_they_are_started, flags_open_the_ports_that_are_named, arguments_are_the_programs_own, job_files_are_valid,
    references_exist, mounts_have_volumes, gangs_are_whole, selectors_take_pods, network_is_closed,
    flows_that_are_needed_are_open, everything_is_in_the_namespace,
]


def problems(documents):
    for rule in RULES:
        for line in rule(documents):
            yield line
