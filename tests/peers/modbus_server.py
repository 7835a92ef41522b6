"""A Modbus server to test against, from pymodbus 3.13 or later (not 4).

Serves units 1 and 2 on 127.0.0.1 and prints {"port": N}. Unit 9 never answers. Reads commands as JSON
lines on standard input and answers each with {"ok": true} once it is in force:

  {"set": [ADDRESS, [WORD, ...]]}   holding registers of unit 1
  {"delay": SECONDS}                before every reply
  {"delay_once": SECONDS}           before the next reply
  {"refuse_once": CODE}             the next request, with this exception
  {"refuse_writes": CODE}           every write, with this exception; 0 takes them again
  {"stop": true}                    closes the listener and all connections
  {"start": true}                   serves again, on the same port
  {"log": true}                     answers with [function code, address, words written] of each request,
                                    then clears
"""

import argparse
import asyncio
import json
import logging
import sys

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

logging.disable(logging.CRITICAL)

state = {"set": {}, "delay": 0.0, "delay_once": 0.0, "refuse_once": 0, "refuse_writes": 0, "log": []}



async def on_request(function, start, address, count, registers, values):
    state["log"].append([function, address, list(values or [])])
    if function in (3, 6, 16):
        for where, word in state["set"].items():
            registers[where - start] = word
        state["set"].clear()
    if code := state["refuse_once"]:
        state["refuse_once"] = 0
        return ExcCodes(code)
    if function in (6, 16) and (code := state["refuse_writes"]):
        return ExcCodes(code)
    delay = state["delay_once"] or state["delay"]
    state["delay_once"] = 0.0
    if delay:
        await asyncio.sleep(delay)
    return None


async def never(function, start, address, count, registers, values):
    await asyncio.sleep(3600)


def devices():
    words = lambda at, values: SimData(at, values=values, datatype=DataType.REGISTERS)
    bits = lambda at, values: SimData(at, values=values, datatype=DataType.BITS)
    one = SimDevice(
        1,
        simdata=(
            [bits(0, [True, False, True, True] + [False] * 12)],
            [bits(0, [False, True] + [False] * 14)],
            # Registers 100 to 119 do not exist.
            [words(0, [0] * 100), words(120, [7] * 10)],
            [words(0, [1000 + i for i in range(50)])],
        ),
        action=on_request,
    )
    two = SimDevice(2, simdata=[words(0, [222] * 10)])
    nine = SimDevice(9, simdata=[words(0, [0] * 10)], action=never)
    return [one, two, nine]


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--framer", choices=["socket", "rtu"], default="socket")
    framer = FramerType(parser.parse_args().framer)

    async def start(port):
        server = ModbusTcpServer(devices(), framer=framer, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        return server, server.transport.sockets[0].getsockname()[1]

    server, port = await start(0)
    print(json.dumps({"port": port}), flush=True)

    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        answer = {"ok": True}
        for key, value in json.loads(line).items():
            if key == "set":
                address, values = value
                state["set"].update({address + i: w for i, w in enumerate(values)})
            elif key == "stop":
                await server.shutdown()
            elif key == "start":
                server, port = await start(port)
            elif key == "log":
                answer["log"] = list(state["log"])
                state["log"].clear()
            else:
                state[key] = value
        print(json.dumps(answer), flush=True)


asyncio.run(main())
