#!/usr/bin/env python3
"""Holds the rooms apart: who may include whom, and that no test is forgotten.

Run from anywhere; exits 1 and names file and line of each breach.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Includes go server -> {proto, runtime} -> kernels, never back.
MAY_INCLUDE = {
    "kernels": {"kernels"},
    "runtime": {"runtime", "kernels"},
    "server": {"server", "runtime", "kernels", "mla", "google", "grpc"},
}
# Kernels see no framework; the runtime sees no RPC.
FORBIDDEN = {
    "kernels": r"<?\"?(absl|grpc|google|nlohmann|spdlog|prometheus|CLI)\b",
    "runtime": r"<?\"?(grpc|grpcpp|google|httplib|CLI)\b",
}
# A block pool counts blocks; it knows neither sequences nor requests.
FILE_FORBIDDEN = {
    "runtime/block_pool.h": r"runtime/(sequence|request|scheduler|engine)",
    "runtime/block_pool.cc": r"runtime/(sequence|request|scheduler|engine)",
}
# Kernels are one source for nvcc and for the host: what differs is in two files.
CUDA_ONLY_IN = {
    ("kernels/cuda/primitives.h", "kernels/cuda/hopper_primitives.h"): r"\basm\b|__CUDACC__|cuda_host/",
    "kernels/cuda/launch/": r"<<<|\bcuda[A-Z]\w+\(",
}
# The toolkit's headers are in one folder of the runtime, which takes nothing from the CPU's kernels.
CUDA_BACKEND = "runtime/cuda/"
TOOLKIT = re.compile(r"<?\"?(cuda_runtime|cublas|nccl)")
SOURCE = re.compile(r"\.(h|cc|inc|cu|cuh)$")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"].*[>"])')


def tracked():
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode == 0 and out.stdout:
        return out.stdout.split("\n")
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()
            and "build" not in p.relative_to(ROOT).parts]


def include_breaches(files):
    for name in files:
        room = name.split("/")[0]
        if room not in MAY_INCLUDE or not SOURCE.search(name):
            continue
        lines = (ROOT / name).read_text().splitlines()
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            target = found[1]
            where = f"{name}:{number}: {target}:"
            if target.startswith('"'):
                first = target[1:].split("/")[0]
                if f"{first}/" == "cuda_host/":
                    continue  # cuda_breaches looks at it
                if first not in MAY_INCLUDE[room] and not re.match(r"(absl|prometheus|spdlog|nlohmann|grpcpp)$", first):
                    yield f"{where} {room}/ may not include {first}/"
            if room in FORBIDDEN and re.match(FORBIDDEN[room], target):
                yield f"{where} no such framework in {room}/"
            if not name.startswith(("kernels/cuda/", CUDA_BACKEND)) and TOOLKIT.match(target):
                yield f"{where} only {CUDA_BACKEND} and kernels/cuda/ may include the toolkit"
            if name.startswith(CUDA_BACKEND) and re.match(r'"kernels/(cpu|reference)/', target):
                yield f"{where} the CUDA backend runs nothing on the CPU"
            if name in FILE_FORBIDDEN and re.search(FILE_FORBIDDEN[name], target):
                yield f"{where} {name} knows blocks only"


def cuda_breaches(files):
    for name in files:
        if not name.startswith("kernels/cuda/") or not SOURCE.search(name):
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            for home, words in CUDA_ONLY_IN.items():
                if re.search(words, line.split("//")[0]) and not name.startswith(home):
                    yield f"{name}:{number}: only {home} may say that: {line.strip()}"


def unregistered_tests(files):
    lists = "\n".join((ROOT / f).read_text() for f in files if f.endswith("CMakeLists.txt"))
    for name in files:
        if re.match(r"tests/.*_(test\.(cc|py)|fuzz\.cc)$", name):
            stem = pathlib.Path(name).stem
            if not re.search(rf"\b{stem}\b", lists):
                yield f"{name}: not registered in any CMakeLists.txt"


def main():
    files = [f for f in tracked() if f and (ROOT / f).is_file()]
    breaches = [*include_breaches(files), *cuda_breaches(files), *unregistered_tests(files)]
    print("\n".join(breaches) if breaches else f"{len(files)} files: every include runs one way")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
