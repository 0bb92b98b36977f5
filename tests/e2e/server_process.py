"""A real `mlaserve serve` process on ports the system picks."""

import os
import pathlib
import re
import subprocess
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("MLASERVE", str(ROOT / "build/release/bin/mlaserve"))
START_SECONDS = 120  # sanitizer builds on a loaded machine


def models_folder():
    full = os.environ.get("MLA_SHARED_GOLDEN")
    return (pathlib.Path(full) if full else ROOT / "tests/golden") / "models"


def model_folder(name):
    """A tiny golden checkpoint: from the full set if there is one, else ours."""
    return models_folder() / name


def models():
    return sorted(p.name for p in models_folder().iterdir())


class Server:
    """Started by the constructor; `grpc`, `http` and `admin` are addresses."""

    def __init__(self, model, *flags):
        self._serve(model_folder(model), *flags)

    @classmethod
    def at(cls, folder, *flags):
        """One that serves a folder of the caller's."""
        made = cls.__new__(cls)
        made._serve(folder, *flags)
        return made

    def _serve(self, folder, *flags):
        command = [
            BINARY, "serve", "--model", str(folder),
            "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
            "--admin-listen", "127.0.0.1:0", "--weights-dtype", "f32",
            "--kv-cache-dtype", "f32", "--kv-cache-bytes", "64M",
            "--threads", "2", *flags,
        ]
        self._run(command, None)

    @classmethod
    def from_environment(cls, variables):
        """One that has no flags, only `variables` besides our own."""
        made = cls.__new__(cls)
        made._run([BINARY, "serve"], {**os.environ, **variables})
        return made

    def _run(self, command, environment):
        self.process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True
        )
        self.log = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_SECONDS) or self.process.poll() is not None:
            self.kill()
            raise RuntimeError("server did not start:\n" + "".join(self.log))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"listening (grpc|http|admin)=(\S+)", line)
            if found:
                setattr(self, found[1], found[2])
            if line.rstrip().endswith("state ready"):
                self._ready.set()
        self.process.wait()
        self._ready.set()

    def get(self, path):
        """Status code, content type and body of an HTTP page."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=20) as r:
                return r.status, r.headers["Content-Type"], r.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    def metric(self, name, **labels):
        """Sum of a metric's series that carry `labels`."""
        total = 0.0
        for line in self.get("/metrics")[2].splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if not found or found[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            if all(have.get(k) == v for k, v in labels.items()):
                total += float(found[3])
        return total

    def wait(self, seconds):
        """The exit status, once it has ended by itself."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
