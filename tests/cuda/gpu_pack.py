#!/usr/bin/env python3
"""gpu_pack.py FOLDER --plugins FOLDER --golden FOLDER --data FILE... --program FILE... --test NAME DEVICES TOOL PROGRAM ARGS ...: the suite
gpu as a folder that runs on a machine with an NVIDIA driver and nothing else: programs and plugins, stripped, the libraries they need
beyond the C library, the data, and `run` (gpu_pack_run.sh), which says how each test went. `./dev gpu-pack` calls it.
"""
import argparse
import os
import shutil
import subprocess
import sys

SIZE_MAX = 64 << 20
# Of the machine itself: they belong to its kernel and loader.
SYSTEM = ("linux-vdso", "ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libgcc_s.so")
PLUGINS = ("cuda_tp", "cpu", "quant_awq", "quant_compressed", "quant_gguf", "quant_gptq", "quant_none", "tokenizer_bpe")
HERE = os.path.dirname(os.path.abspath(__file__))


def copy_stripped(source, folder):
    target = os.path.join(folder, os.path.basename(source))
    shutil.copy(source, target)
    subprocess.run(["strip", "--strip-unneeded", target], check=True)
    return target


def needed_libraries(paths):
    found = {}
    for path in paths:
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            name, _, rest = line.strip().partition(" => ")
            if rest.startswith("not found"):
                sys.exit(f"gpu_pack: {path} needs {name}, which is not here")
            if rest and not name.startswith(SYSTEM):
                found[name] = rest.split(" (")[0]
    return found


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--plugins", required=True)
    parser.add_argument("--golden", required=True)
    parser.add_argument("--data", action="append", default=[], help="a file for the folder data")
    parser.add_argument("--program", action="append", default=[], help="a program that is no test")
    parser.add_argument("--test", action="append", nargs=5, default=[], metavar=("NAME", "DEVICES", "TOOL", "PROGRAM", "ARGS"))
    args = parser.parse_args()

    shutil.rmtree(args.folder, ignore_errors=True)
    folders = {name: os.path.join(args.folder, name) for name in ("bin", "plugins", "lib", "data")}
    for path in folders.values():
        os.makedirs(path)
    programs = sorted({test[3] for test in args.test} | set(args.program))
    copied = [copy_stripped(path, folders["bin"]) for path in programs]
    copied += [copy_stripped(os.path.join(args.plugins, name + ".so"), folders["plugins"]) for name in PLUGINS]
    for name, path in needed_libraries(copied).items():
        shutil.copy(path, os.path.join(folders["lib"], name))
    golden = os.path.join(args.folder, "golden")
    os.makedirs(golden)
    for name in sorted(os.listdir(args.golden)):
        if name.startswith("families"):
            copy = shutil.copytree if os.path.isdir(os.path.join(args.golden, name)) else shutil.copy
            copy(os.path.join(args.golden, name), os.path.join(golden, name))
    for path in args.data:
        shutil.copy(path, folders["data"])
    with open(os.path.join(args.folder, "tests"), "w") as out:
        for name, devices, tool, program, arguments in args.test:
            out.write(" ".join([name, devices, tool, os.path.basename(program), arguments]).rstrip() + "\n")
    shutil.copy(os.path.join(HERE, "gpu_pack_run.sh"), os.path.join(args.folder, "run"))
    os.chmod(os.path.join(args.folder, "run"), 0o755)
    size = folder_bytes(args.folder)
    print(f"{args.folder}: {len(args.test)} tests, {size / (1 << 20):.1f} MiB")
    if size > SIZE_MAX:
        sys.exit(f"gpu_pack: that is more than {SIZE_MAX >> 20} MiB")


main()
