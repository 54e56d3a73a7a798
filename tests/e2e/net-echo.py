# SPDX-License-Identifier: Apache-2.0
# Python's asyncio as a TCP and UDP echo server on a port, or as its client.
#
#   net-echo.py serve PORT                      runs until it is killed
#   net-echo.py call HOST PORT CONNS DATAGRAMS  CONNS streams at once with random bytes each way and a half-close; prints what came back right
import asyncio
import os
import random
import sys


async def stream(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"end")
    writer.write_eof()
    writer.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve(port):
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(stream, ["127.0.0.1", "::1", "10.77.0.2"], port, backlog=1024)
    for host in "127.0.0.1", "::1":
        await loop.create_datagram_endpoint(Echo, local_addr=(host, port))
    await server.serve_forever()


async def one_stream(host, port, size):
    reader, writer = await asyncio.open_connection(host, port)
    data = os.urandom(size)

    async def send():
        for at in range(0, size, 8192):
            writer.write(data[at:at + 8192])
            await writer.drain()
        writer.write_eof()

    _, back = await asyncio.gather(send(), reader.read(-1))
    writer.close()
    return back == data + b"end"


class Ask(asyncio.DatagramProtocol):
    def __init__(self):
        self.answers = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.answers.put_nowait(data)

    def error_received(self, exc):
        self.answers.put_nowait(exc)


async def datagrams(host, port, count):
    loop = asyncio.get_running_loop()
    transport, ask = await loop.create_datagram_endpoint(Ask, remote_addr=(host, port))
    right = 0
    for i in range(count):
        data = os.urandom(random.choice([1, 100, 1400, 9000, 60000]))
        transport.sendto(data)
        right += await asyncio.wait_for(ask.answers.get(), 60) == data
    transport.close()
    return right


async def call(host, port, conns, count):
    sizes = [random.choice([0, 1, 1000, 70000, 300000]) for _ in range(conns)]
    streams = await asyncio.gather(*(one_stream(host, port, n) for n in sizes))
    print(sum(streams), "streams", await datagrams(host, port, count), "datagrams")


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2])))
else:
    asyncio.run(call(sys.argv[2], *map(int, sys.argv[3:6])))
