# SPDX-License-Identifier: Apache-2.0
# Many connections.
#
#   net-many.py serve PORT                   each connection: sends back a line, then waits for the end; runs until it is killed
#   net-many.py hold HOST PORT COUNT         COUNT connections open at once, a line there and back on each; prints how many
#   net-many.py short HOST PORT COUNT WIDTH  COUNT connections of one line, WIDTH at a time; prints how many gave the right answer
import asyncio
import sys


async def answer(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line)
    finally:
        writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def hold(host, port, count):
    async def one(i):
        r, w = await asyncio.open_connection(host, port)
        return r, w

    conns = []
    for at in range(0, count, 50):
        conns += await asyncio.gather(*(one(i) for i in range(at, min(at + 50, count))))
    for i, (_, w) in enumerate(conns):
        w.write(b"line %d\n" % i)
    right = 0
    for i, (r, _) in enumerate(conns):
        right += await asyncio.wait_for(r.readline(), 120) == b"line %d\n" % i
    for _, w in conns:
        w.close()
    print(right)


async def short(host, port, count, width):
    right = 0
    left = count

    async def worker():
        nonlocal right, left
        while left > 0:
            left -= 1
            line = b"short %d\n" % left
            r, w = await asyncio.open_connection(host, port)
            w.write(line)
            back = await asyncio.wait_for(r.readline(), 120)
            right += back == line
            w.close()

    await asyncio.gather(*(worker() for _ in range(width)))
    print(right)


numbers = list(map(int, sys.argv[3:]))
if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2])))
elif sys.argv[1] == "hold":
    asyncio.run(hold(sys.argv[2], *numbers))
else:
    asyncio.run(short(sys.argv[2], *numbers))
