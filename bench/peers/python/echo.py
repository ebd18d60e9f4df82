"""echo.py PATH: an echo server on asyncio's protocols, until it is killed."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Echo, sys.argv[1], backlog=4096)
    await server.serve_forever()


asyncio.run(main())
