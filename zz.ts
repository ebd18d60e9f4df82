import http from "node:http"; import net from "node:net";
import { callerOf, listen, serveHttp } from "./src/index.ts";
const path="/tmp/sv/b.sock";
const server = http.createServer((q,r)=>{ const c=callerOf(q); r.end(`${c?.pid} ${q.socket.localPort} ${q.socket.localFamily}`)});
server.on("connection",(s)=>console.log("connection", callerOf(s)?.pid));

console.log(service.acceptedBy);
const get=()=>new Promise<string>(res=>{ const q=http.get({socketPath:path,agent:false},r=>{let t="";r.on("data",d=>t+=d);r.on("end",()=>res(t))}); q.on("error",e=>res(String(e)))});
console.log(await get(), service.acceptedBy, process.pid);
console.log(await Promise.all([get(),get(),get()]));
console.log(service.connections);
await service.drain();
console.log("drained", process.pid);
