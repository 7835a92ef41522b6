"""llama.cpp's own OpenAI-compatible server (PyPI package xllamacpp), on a free port of this machine.

Usage: openai_server.py MODEL.gguf. Prints its address, and serves until its standard input closes.
"""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 2048
params.port = 0
params.n_parallel = 1
params.cpuparams.n_threads = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
