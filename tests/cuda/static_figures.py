#!/usr/bin/env python3
"""What nvcc makes of the CUDA kernels, without a GPU: registers, spills, shared
memory, thread blocks that fit a multiprocessor, and how many instructions of each
kind the machine code has.

    tests/cuda/static_figures.py              the table, in Markdown
    tests/cuda/static_figures.py --check      fails where a limit is broken

nvcc and nvdisasm are those of requirements.txt, installed in the Python that runs
this; so the figures are the same everywhere.
"""

import argparse
import concurrent.futures
import functools
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/cuda/instantiations.cu"

# Registers, shared memory of a multiprocessor and of a block, threads; CUDA C++
# Programming Guide, "Technical Specifications per Compute Capability".
LIMITS = {
    "80": (65536, 164 << 10, 163 << 10, 2048),
    "90a": (65536, 228 << 10, 227 << 10, 2048),
    "100": (65536, 228 << 10, 227 << 10, 2048),
    "120": (65536, 100 << 10, 99 << 10, 1536),
}
RESERVED_SHARED = 1024  # of each block, by the system

# Shared bytes that a launch asks for, threads, the registers that are allowed;
# whether it needs tensor cores and asynchronous copies. Shared bytes and threads
# are checked against attention_shape.h when instantiations.cu is compiled.
KERNELS = {
    "Attention<576,512,16,latent>": dict(shared=93760, threads=128, registers=200, hot=True),
    "Attention<576,512,64,latent>": dict(shared=152832, threads=256, registers=255, hot=True),
    "Attention<576,512,16,latent,fp8>": dict(shared=93760, threads=128, registers=220),
    "Attention<576,512,64,latent,fp8>": dict(shared=152832, threads=256, registers=255),
    "Attention<576,512,16,latent,gather>": dict(shared=93760, threads=128, registers=200),
    "Attention<192,128,64,heads>": dict(shared=70912, threads=256, registers=128, hot=True),
    "Attention<128,128,16,heads>": dict(shared=38464, threads=128, registers=104, hot=True),
    # Registers at the launch; warps that compute then have 232 of them.
    "HopperAttention<576,512>": dict(shared=230688, threads=384, registers=168, archs=("90a",)),
    "Combine<576,512,16>": dict(shared=0, threads=256, registers=64, scalar=True),
}
# The other kernels, which wait for memory: registers only, and no spills.
OTHERS = [ROOT / "kernels/cuda/launch" / name for name in ("cache.cu", "moe.cu", "rows.cu", "sample.cu")]
OTHERS_REGISTERS = 128
EMPTY_REGISTERS = 16
STACK = {"SinusoidsKernel"}  # the range reduction of sin and cos
INSTRUCTIONS = ("HMMA", "HGMMA", "LDSM", "LDGSTS", "UTMALDG", "BAR", "LDL", "STL")
# What the Hopper kernel has to have, once: a product for each 16 columns of the keys
# and each 16 of a tile's tokens, a copy for each 64 columns in every copy of the loop.
HOPPER_PRODUCTS = 576 // 16 + 64 // 16
HOPPER_BOXES = 576 // 64
# ptxas's words where it waits for each product before the next.
SERIALIZED = "wgmma.mma_async instructions are serialized"


@functools.cache
def toolkit():
    """The folder of the nvcc that PyPI's packages install."""
    spec = importlib.util.find_spec("nvidia")
    for base in spec.submodule_search_locations if spec else []:
        for nvcc in sorted(pathlib.Path(base).glob("*/bin/nvcc")):
            return nvcc.parent
    sys.exit("nvcc is not installed: pip install -r tests/e2e/requirements.txt")


def name_of(mangled):
    hopper = re.search(r"HopperShapeILi(\d+)ELi(\d+)", mangled)
    if hopper:
        return f"HopperAttention<{hopper[1]},{hopper[2]}>"
    kernel = "Combine" if "CombineKernel" in mangled else "Attention"
    numbers = re.search(r"AttentionShapeILi(\d+)ELi(\d+)ELi(\d+)ELb(\d)E.*?RowLoadE(\d)", mangled)
    if not numbers:
        return mangled
    key, value, rows, latent, load = numbers.groups()
    if kernel == "Combine":
        return f"Combine<{key},{value},{rows}>"
    return (f"Attention<{key},{value},{rows},{'latent' if latent == '1' else 'heads'}"
            f"{('', ',fp8', ',gather')[int(load)]}>")


def compile_for(arch, *options):
    """{kernel: figures} of one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = pathlib.Path(folder) / "kernels.cubin"
        done = subprocess.run(
            [toolkit() / "nvcc", "-std=c++17", "-O3", f"-arch=sm_{arch}", "-Xptxas", "-v", "-cubin",
             *options, f"-I{ROOT}", "-o", cubin, SOURCE], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        figures = {}
        for mangled, spilled, registers in re.findall(
                r"Compiling entry function '(\S+)' for .*?(\d+) bytes spill stores.*?Used (\d+) registers",
                done.stderr, re.S):
            figures[name_of(mangled)] = dict(registers=int(registers), spilled=int(spilled), serialized=0)
        for mangled in re.findall(rf"{SERIALIZED}.*?function '(\S+)'", done.stderr):
            figures[name_of(mangled)]["serialized"] = 1
        code = subprocess.run([toolkit() / "nvdisasm", "-c", cubin], capture_output=True, text=True)
        if code.returncode != 0:
            sys.exit(code.stderr)
        for part in re.split(r"^\s*\.section\s+\.text\.", code.stdout, flags=re.M)[1:]:
            counts = figures[name_of(re.match(r"\S+?(?=,)", part)[0])]
            for instruction in INSTRUCTIONS:
                counts[instruction] = len(re.findall(rf"\b{instruction}[.\s]", part))
    return figures


def compile_others(arch):
    """{kernel: figures} of one architecture."""
    figures = {}
    for source in OTHERS:
        done = subprocess.run(
            [toolkit() / "nvcc", "-std=c++17", "-O3", f"-arch=sm_{arch}", "-Xptxas", "-v", "-cubin",
             f"-I{ROOT}", "-o", "/dev/null", source], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        for mangled, stack, spilled, registers in re.findall(
                r"Compiling entry function '(\S+)' for .*?(\d+) bytes stack frame, (\d+) bytes spill"
                r" stores.*?Used (\d+) registers", done.stderr, re.S):
            name = re.search(r"cuda\d+([A-Z]\w*?Kernel)", mangled)[1]
            copies = figures.setdefault(name, dict(registers=0, spilled=0, stack=0))
            for key, value in (("registers", registers), ("spilled", spilled), ("stack", stack)):
                copies[key] = max(copies[key], int(value))
    return figures


def other_breaches(arch, figures):
    for kernel, f in figures.items():
        if f["spilled"] > 0 or (f["stack"] > 0 and kernel not in STACK):
            yield f"sm_{arch} {kernel}: {f['spilled']} bytes spilled, {f['stack']} of stack"
        if f["registers"] > OTHERS_REGISTERS:
            yield f"sm_{arch} {kernel}: {f['registers']} registers, at most {OTHERS_REGISTERS} are allowed"


def blocks_that_fit(arch, kernel, registers):
    all_registers, all_shared, block_shared, threads = LIMITS[arch]
    k = KERNELS[kernel]
    if k["shared"] > block_shared:
        return 0
    warp_registers = (registers * 32 + 255) // 256 * 256
    fit = [all_registers // (warp_registers * (k["threads"] // 32)), threads // k["threads"],
           all_shared // (k["shared"] + RESERVED_SHARED)]
    return min(fit)


def breaches(arch, figures):
    for kernel, limits in KERNELS.items():
        if arch not in limits.get("archs", LIMITS):
            if kernel in figures and figures[kernel]["registers"] > EMPTY_REGISTERS:
                yield f"sm_{arch} {kernel}: is not empty"
            continue
        if kernel not in figures:
            yield f"sm_{arch} {kernel}: not compiled"
            continue
        f = figures[kernel]
        if f["registers"] > limits["registers"]:
            yield f"sm_{arch} {kernel}: {f['registers']} registers, at most {limits['registers']} are allowed"
        for kind in ("spilled", "serialized", "LDL", "STL"):
            if f[kind] > 0:
                yield f"sm_{arch} {kernel}: {kind} {f[kind]}"
        if limits.get("scalar"):
            continue
        if kernel.startswith("Hopper"):
            if f["HGMMA"] != HOPPER_PRODUCTS:
                yield f"sm_{arch} {kernel}: {f['HGMMA']} products for {HOPPER_PRODUCTS}"
            if f["UTMALDG"] == 0 or f["UTMALDG"] % HOPPER_BOXES:
                yield f"sm_{arch} {kernel}: {f['UTMALDG']} copies of boxes"
            continue
        if f["HMMA"] == 0 or f["LDSM"] == 0:
            yield f"sm_{arch} {kernel}: does not use tensor cores"
        if limits.get("hot") and f["LDGSTS"] == 0:
            yield f"sm_{arch} {kernel}: does not copy asynchronously"
    for kernel in figures.keys() - KERNELS.keys():
        yield f"sm_{arch} {kernel}: has no limits"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        by_arch = dict(zip(LIMITS, pool.map(compile_for, LIMITS)))
        others = dict(zip(LIMITS, pool.map(compile_others, LIMITS)))
    print("| kernel | sm | registers | spilled bytes | shared bytes | blocks/SM | "
          + " | ".join(INSTRUCTIONS) + " |")
    print("|---|---|" + "---:|" * (4 + len(INSTRUCTIONS)))
    for kernel in KERNELS:
        for arch, figures in by_arch.items():
            if arch not in KERNELS[kernel].get("archs", LIMITS):
                continue
            f = figures[kernel]
            row = [f"`{kernel}`", arch, f["registers"], f["spilled"], KERNELS[kernel]["shared"],
                   blocks_that_fit(arch, kernel, f["registers"]) or "does not fit"]
            print("| " + " | ".join(str(x) for x in row + [f[i] for i in INSTRUCTIONS]) + " |")
    print("\nRegisters of the other kernels, none of which spills:\n")
    print("| kernel | " + " | ".join(f"sm_{arch}" for arch in others) + " |")
    print("|---|" + "---:|" * len(others))
    for kernel in sorted(others["80"]):
        print(f"| `{kernel}` | " + " | ".join(str(f[kernel]["registers"]) for f in others.values()) + " |")
    broken = [b for arch, figures in by_arch.items() for b in breaches(arch, figures)]
    broken += [b for arch, figures in others.items() for b in other_breaches(arch, figures)]
    if arguments.check and broken:
        sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
