"""Writes the SBOM of an image to stdout, as SPDX 2.3 in JSON: every file with its hash, and the package it comes from.

Same files, same text: the only time in it is SOURCE_DATE_EPOCH.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess

# Where a library on this machine may lie; the image keeps its name.
FOLDERS = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib"]


def files_of(root):
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def debian_packages(names):
    """The installed package of each library, as (name, version), by the library's name."""
    owners = {}
    for name in names:
        candidates = [pathlib.Path(folder) / name for folder in FOLDERS]
        paths = {str(p) for c in candidates if c.exists() for p in (c, c.resolve())}
        paths |= {path.removeprefix("/usr") for path in paths}
        answer = subprocess.run(["dpkg-query", "--search", *sorted(paths)], capture_output=True, text=True).stdout
        if answer:
            owners[name] = answer.splitlines()[0].partition(":")[0]
    versions = {}
    for package in set(owners.values()):
        answer = subprocess.run(["dpkg-query", "--show", "--showformat", "${Version}\\n", package], capture_output=True,
                                text=True, check=True).stdout
        versions[package] = answer.splitlines()[0]
    return {name: (package, versions[package]) for name, package in owners.items()}


def package(name, version, **more):
    identity = re.sub(r"[^A-Za-z0-9.-]", "-", f"SPDXRef-Package-{name}")
    return {"SPDXID": identity, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", **more}


def debian(name, version):
    locator = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch=amd64&distro=debian-12"
    return package(name, version, supplier="Organization: Debian",
                   externalRefs=[{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}])


def origin(path, owners, version):
    """What a file of the image comes from, as a package."""
    where = path.as_posix()
    if where.startswith("usr/local/cuda/"):
        return package("nvidia-cuda-libraries", "13", supplier="Organization: NVIDIA")
    if path.name in owners:
        return debian(*owners[path.name])
    return package("birkhoff", version, licenseDeclared="Apache-2.0", supplier="Organization: Birkhoff")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--root", required=True, type=pathlib.Path)
    arguments = parser.parse_args()

    paths = [path.relative_to(arguments.root) for path in files_of(arguments.root)]
    owners = debian_packages({path.name for path in paths if ".so" in path.name})
    image = package(arguments.name, arguments.version, primaryPackagePurpose="CONTAINER", licenseDeclared="Apache-2.0")
    packages, files = {image["SPDXID"]: image}, []
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", image["SPDXID"])]
    everything = hashlib.sha256()
    for number, path in enumerate(paths):
        content = (arguments.root / path).read_bytes()
        sums = {"SHA1": hashlib.sha1(content).hexdigest(), "SHA256": hashlib.sha256(content).hexdigest()}
        everything.update(f"{path} {sums['SHA256']}\n".encode())
        files.append({"SPDXID": f"SPDXRef-File-{number}", "fileName": f"./{path}", "licenseConcluded": "NOASSERTION",
                      "copyrightText": "NOASSERTION",
                      "checksums": [{"algorithm": key, "checksumValue": value} for key, value in sums.items()]})
        source = origin(path, owners, arguments.version)
        if source["SPDXID"] not in packages:
            packages[source["SPDXID"]] = source
            relations.append((image["SPDXID"], "DEPENDS_ON", source["SPDXID"]))
        relations.append((image["SPDXID"], "CONTAINS", f"SPDXRef-File-{number}"))
        relations.append((f"SPDXRef-File-{number}", "GENERATED_FROM", source["SPDXID"]))  # stripped
    # As SPDX 2.3, section 7.9, has it.
    sums = "".join(sorted(entry["checksums"][0]["checksumValue"] for entry in files))
    code = hashlib.sha1(sums.encode()).hexdigest()
    image.update(filesAnalyzed=True, packageVerificationCode={"packageVerificationCodeValue": code})
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    identity = f"{arguments.name}-{arguments.version}-{everything.hexdigest()[:16]}"
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": identity,
        "documentNamespace": f"https://spdx.org/spdxdocs/{identity}",
        "creationInfo": {"created": created, "creators": ["Tool: deploy/image/sbom.py"]},
        "packages": list(packages.values()), "files": files,
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in relations]}
    print(json.dumps(document, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
