"""Processes that begin with the third-party libraries imported: each is forked from one that has done nothing else.

Importing them takes seconds of processor time, which a test that starts a process pays each time. Of `ser_hf` nothing
is imported before the fork, so such a process may go without it.

    with Prepared(environment) as prepared:
        subprocess.run([*prepared.python, "-c", "print(1)"])  # or "-m" and a module, or a script

The command is a small one that hands its words, variables, folder and streams over, waits, and ends as its process
ended; when it is killed, so is the process. Pictures that such a process saves are one grey pixel.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

LIBRARIES = (
    "accelerate", "datasets", "huggingface_hub", "librosa", "matplotlib.backends.backend_agg", "matplotlib.figure",
    "pandas", "peft", "scipy.signal", "scipy.stats", "sklearn.metrics", "sklearn.svm", "soundfile", "soxr", "timm",
    "torch", "torchaudio", "transformers.models.hubert.modeling_hubert", "transformers.models.whisper.modeling_whisper",
    "transformers.pipelines", "transformers.trainer", "typer",
)  # fmt: skip


class Prepared:
    """The process that is forked. Its variables are those of `environment` when it imports, later those of the command.

    Attributes:
        python: stands for `sys.executable` in a command.
    """

    def __init__(self, environment=None):
        self._folder = tempfile.TemporaryDirectory()
        self._process = None
        self._environment = environment or dict(os.environ)
        place = str(Path(self._folder.name, "socket"))
        self.python = [sys.executable, "-I", "-S", __file__, place]

    def __enter__(self):
        command = [sys.executable, __file__, "--serve", self.python[-1]]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


def ask(place, words):
    """Have the words run there, and end in the same way."""
    told = json.dumps({"words": words, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [len(told).to_bytes(4)], [0, 1, 2])
        connection.sendall(told)
        status = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), signed=True)
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(place):
    import importlib

    for name in LIBRARIES:
        importlib.import_module(name)
    assert not any(name.partition(".")[0] == "ser_hf" for name in sys.modules)
    from pixel import save_pixel

    sys.modules["matplotlib.figure"].Figure.savefig = save_pixel
    gc.collect()
    gc.freeze()  # else every process would go through all of this again
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if os.fork() == 0:
                server.close()
                keep(connection)
            connection.close()


def keep(connection):
    """Fork the process of a command, watch both, and tell the command how it ended."""
    size, streams, *_ = socket.recv_fds(connection, 4, 3)
    told = json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL))
    if (pid := os.fork()) == 0:
        connection.close()
        become(told, streams)
    for stream in (*streams, 0, 1, 2):
        os.close(stream)

    def watch():
        connection.recv(1)  # nothing more is said: the command is gone
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(status.to_bytes(4, signed=True))
    os._exit(0)


def become(told, streams):
    """Run the words in this process, as a new one would."""
    import atexit
    import runpy
    import traceback
    import types

    import numpy

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    numpy.random.seed()
    first, *words = told["words"]
    status = 0
    try:
        if first == "-c":
            script, *words = words
            sys.argv, sys.path[0] = [first, *words], ""
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(script, "<string>", "exec"), main.__dict__)
        elif first == "-m":
            module, *words = words
            sys.argv, sys.path[0] = [first, *words], told["folder"]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = [first, *words], os.path.dirname(first)
            runpy.run_path(first, run_name="__main__")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "--serve" else ask(sys.argv[1], sys.argv[2:])
