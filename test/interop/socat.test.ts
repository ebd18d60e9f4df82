// socat at the other end, the tool that people test sockets with.

import { describe, expect } from "bun:test";
import { connect, listen, openDatagram, type StreamSocket } from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { eventually, leakFree, must, pattern, readExactly } from "../api/tools.ts";
import { run, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";

const needs = ["socat"];

/** socat's name of an address: UNIX-… or ABSTRACT-…. */
const named = (kind: string, address: string): string =>
  address.startsWith("@") ? `ABSTRACT-${kind}:${address.slice(1)}` : `UNIX-${kind}:${address}`;

for (const route of ["path", "abstract"] as const) {
  describe(route, () => {
    peerTest("it connects to us, says its input and prints our answer", needs, () =>
      leakFree(async () => {
        const address = freshAddress(route);
        using server = listen(address);
        const client = run(["socat", "-t", "10", "-", named("CONNECT", address)], {
          input: "from socat",
        });
        using socket = await server.accept();
        let text = "";
        for await (const message of socket) text += message.text();
        await socket.send("to socat");
        socket.end();
        expect(text).toBe("from socat");
        expect(succeeded(await client)).toBe("to socat");
      }),
    );

    peerTest("it listens: a megabyte there and back, byte for byte", needs, () =>
      leakFree(async () => {
        const address = freshAddress(route);
        const echo = start(["socat", named("LISTEN", address), "EXEC:cat"]);
        let socket: StreamSocket | undefined;
        await eventually(async () => {
          socket = await connect(address).catch(() => undefined);
          return socket !== undefined;
        }, "socat listens");
        using open = socket!;
        const bytes = pattern(2 ** 20);
        const sending = open.send(bytes).then(() => open.end());
        const back = await readExactly(open, bytes.length);
        await sending;
        expect(back.equals(bytes)).toBe(true);
        expect(await open.receive()).toBeNull();
        open.close();
        expect((await echo.exited).code).toBe(0);
      }),
    );

    peerTest("it sends its input as a datagram", needs, () =>
      leakFree(async () => {
        const address = freshAddress(route);
        using receiver = openDatagram(address);
        const tight = route === "abstract" ? ",unix-tightsocklen=1" : "";
        const sender = run(["socat", "-u", "-", named("SENDTO", address) + tight], {
          input: "one datagram",
        });
        const message = must(await receiver.receive());
        expect([message.text(), message.from]).toEqual(["one datagram", undefined]);
        succeeded(await sender);
      }),
    );

    peerTest("it receives our datagrams", needs, () =>
      leakFree(async () => {
        const address = freshAddress(route);
        const receiver = start(["socat", "-u", named("RECV", address), "-"]);
        using sender = openDatagram();
        await eventually(
          () =>
            sender.send("first\n", { to: address }).then(
              () => true,
              () => false,
            ),
          "socat receives",
        );
        await sender.send("second\n", { to: address });
        expect([await receiver.line(), await receiver.line()]).toEqual(["first", "second"]);
        receiver.kill("SIGKILL");
        await receiver.exited;
      }),
    );
  });
}

peerTest("its seqpacket sockets talk to ours", needs, () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path, { type: "seqpacket" });
    const client = run(["socat", "-t", "10", "-", `UNIX-CONNECT:${path},type=5`], {
      input: "a packet",
    });
    using socket = await server.accept();
    expect(must(await socket.receive()).text()).toBe("a packet");
    await socket.send("another");
    socket.close();
    expect(succeeded(await client)).toBe("another");
  }),
);

peerTest("an abstract name padded with NULs to 108 bytes is reached as bytes", needs, () =>
  leakFree(async () => {
    const name = new Uint8Array(107);
    name.set(Buffer.from(freshAddress("abstract").slice(1)));
    using server = listen({ abstract: name });
    const text = Buffer.from(name).toString().replace(/\0+$/, "");
    const client = run(["socat", "-", `ABSTRACT-CONNECT:${text},unix-tightsocklen=0`], {
      input: "padded",
    });
    using socket = await server.accept();
    expect(must(await socket.receive()).text()).toBe("padded");
    socket.close();
    await client;
  }),
);
