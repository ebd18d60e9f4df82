// examples/varlink against Debian's Go library in both directions, by the certification that the
// library brings; and against Python, which sends descriptors and pieces of any size.

import { expect, setDefaultTimeout, test } from "bun:test";
import { connect, probe } from "../../src/index.ts";
import { eventually } from "../api/tools.ts";
import { runScript, slower, start, startScript, succeeded } from "../support/child.ts";
import { buildVarlinkCertification, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(30_000 * slower);

const ours = "test/fixtures/varlink-certification.ts";

test("its own client and server", async () => {
  using dir = tempDir();
  const address = dir.file("notes");
  await using server = startScript("examples/varlink/server.ts", [address]);
  await server.lineWith("ready");
  expect(succeeded(await runScript("examples/varlink/client.ts", [address]))).toBe(
    `notes: org.example.Notes, org.varlink.service
imported: 2
org.varlink.service.InvalidParameter {"parameter":"line"}
0 first
1 second
2 third
3 lines
`,
  );
});

peerTest(
  "Go's client, our server",
  ["go", "varlink-go"],
  async () => {
    const program = buildVarlinkCertification();
    using dir = tempDir();
    const address = dir.file("server");
    await using server = startScript(ours, ["serve", address]);
    await server.lineWith("ready");
    await using client = start([program, "-client", "-varlink", `unix:${address}`]);
    const { stdout, code } = await client.exited;
    expect([stdout.trimEnd().split("\n").at(-1), code]).toEqual(["End: 'true'", 0]);
    expect(stdout).not.toContain("failed");
  },
  120_000,
);

peerTest(
  "our client, Go's server",
  ["go", "varlink-go"],
  async () => {
    const program = buildVarlinkCertification();
    using dir = tempDir();
    const address = dir.file("server");
    await using _server = start([program, "-varlink", `unix:${address}`]);
    await eventually(async () => (await probe(address)).state === "listening", "it listens");
    expect(succeeded(await runScript(ours, ["ask", address]))).toBe("right\n");
  },
  120_000,
);

/** Calls with and without descriptors, all of them sent before the first reply is read. */
const python = `
import array, json, os, random, socket, sys, threading
rand = random.Random(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
wants = []

def send(method, parameters, fds=()):
    message = json.dumps({"method": "org.example.Notes." + method, "parameters": parameters})
    data = message.encode() + b"\\0"
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    while data:
        size = rand.randint(1, len(data))
        sock.sendmsg([data[:size]], ancillary)
        data, ancillary = data[size:], []
    for fd in fds:
        os.close(fd)

def file_of(lines):
    fd = os.memfd_create("lines")
    os.write(fd, "\\n".join("line" for _ in range(lines)).encode())
    return fd

def write():
    for lines in wants:
        if lines: send("Import", {"file": 0}, [file_of(lines)])
        else: send("Note", {"line": "one"})
    send("Export", {})

wants = [rand.choice([0, 0, 1, 2, 3, 4]) for _ in range(200)]
threading.Thread(target=write).start()
got, data, fds = [], b"", []
while len(got) <= len(wants):
    part, new, _, _ = socket.recv_fds(sock, rand.randint(1, 200), 4)
    assert part, "the end"
    fds += new
    data += part
    *whole, data = data.split(b"\\0")
    got += [json.loads(one) for one in whole]
assert got.pop() == {"parameters": {"file": 0}} and len(fds) == 1, (got, fds)
assert got == [{"parameters": {"lines": n} if n else {}} for n in wants], got
exported = os.pread(fds[0], 100000, 0).decode().split("\\n")
assert len(exported) == sum(n or 1 for n in wants), len(exported)
print("right")
`;

peerTest("Python's descriptors come with their calls", ["python3"], async () => {
  using dir = tempDir();
  const address = dir.file("notes");
  await using server = startScript("examples/varlink/server.ts", [address]);
  await server.lineWith("ready");
  const seed = String(Math.floor(Math.random() * 2 ** 31));
  console.log(`note: seed ${seed}`);
  await using client = start(["python3", "-c", python, address, seed]);
  expect(await client.exited).toMatchObject({ stdout: "right\n", stderr: "", code: 0 });
});

test("what is no call ends its connection, and no other", async () => {
  using dir = tempDir();
  const address = dir.file("notes");
  await using server = startScript("examples/varlink/server.ts", [address]);
  await server.lineWith("ready");
  using other = await connect(address);
  for (const wrong of ["nonsense\0", "null\0", '{"method":', "\0"]) {
    using socket = await connect(address);
    await socket.send(wrong);
    socket.end();
    expect(await socket.receive()).toBeNull();
  }
  await other.send('{"method":"x"}\0');
  const reply = await other.reader().until(0);
  expect(JSON.parse(Buffer.from(reply!).toString())).toEqual({
    error: "org.varlink.service.InterfaceNotFound",
    parameters: { interface: "" },
  });
});
