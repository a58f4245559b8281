"""The bill of materials of what ships (CycloneDX 1.5), and the licences of everything in it, from what cargo knows.

usage: sbom.py TARGET... --sbom FILE --licences FILE
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FEATURES = ["--no-default-features", "--features", "static"]


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target, *FEATURES]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


def linked(target, known):
    """The packages that the program for `target` links, by id: normal dependencies, without procedural macros.

    `cargo metadata` resolves the workspace as one and `cargo tree` the one package with its features: the tree is what is
    built."""
    command = ["cargo", "tree", "--locked", "--package", "forebay", "--edges", "normal,no-proc-macro", "--prefix", "none",
               "--target", target, "--format", "{p}", *FEATURES]
    named = {(p["name"], p["version"]): p["id"] for p in known["packages"]}
    ids = set()
    for line in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
        if line.strip():
            name, version, *_ = line.split()
            ids.add(named[name, version.removeprefix("v")])
    return ids


def component(package, checksum):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package.get("description"):
        entry["description"] = " ".join(package["description"].split())
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--sbom", required=True)
    parser.add_argument("--licences", required=True)
    options = parser.parse_args()

    packages, edges = {}, {}
    for target in options.targets:
        known = metadata(target)
        by_id = {package["id"]: package for package in known["packages"]}
        ids = linked(target, known)
        packages |= {i: by_id[i] for i in ids}
        for node in known["resolve"]["nodes"]:
            if node["id"] in ids:
                edges.setdefault(node["id"], set()).update(d["pkg"] for d in node["deps"] if d["pkg"] in ids)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    ordered = sorted(packages.values(), key=lambda p: (p["name"], p["version"]))
    entries = {p["id"]: component(p, checksums.get((p["name"], p["version"]))) for p in ordered}

    root = next(p for p in ordered if p["name"] == "forebay")
    program = entries.pop(root["id"]) | {"type": "application"}
    references = {i: f"pkg:cargo/{p['name']}@{p['version']}" for i, p in packages.items()}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": program,
            "properties": [{"name": "forebay:target", "value": target} for target in options.targets],
        },
        "components": list(entries.values()),
        "dependencies": [
            {"ref": references[p["id"]], "dependsOn": sorted({references[d] for d in edges.get(p["id"], ())})} for p in ordered
        ],
    }
    pathlib.Path(options.sbom).write_text(json.dumps(bom, indent=1, ensure_ascii=False) + "\n")

    without = [p["name"] for p in ordered if not p.get("license") and not p.get("license_file")]
    if without:
        sys.exit(f"sbom.py: no licence is named by {', '.join(without)}")
    # Crates under one dual licence carry the same text over and over: each text once, with the crates it comes with.
    texts = {}
    for package in ordered:
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(f for f in folder.iterdir() if f.is_file() and f.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")))
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), []).append(f"{package['name']} {package['version']}")
    with open(options.licences, "w", encoding="utf-8") as out:
        out.write("forebay links these crates:\n\n")
        for package in ordered:
            if package is not root:
                out.write(f"  {package['name']} {package['version']}: {package.get('license') or package['license_file']}\n")
        for text, names in texts.items():
            out.write(f"\n{'=' * 100}\n{', '.join(sorted(set(names)))}\n{'-' * 100}\n{text}\n")


main()
