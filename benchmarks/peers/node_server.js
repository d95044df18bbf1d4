// Node's `net` and `tls` as every tutorial has them: an echo, and a chat that writes to each socket.
//
//   node node_server.js echo|chat [--json] [--nodelay] [--tls CERT KEY]
'use strict';
const fs = require('fs');
const args = process.argv.slice(2);
const json = args.includes('--json');
const tlsAt = args.indexOf('--tls');

function echo(socket) {
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => socket.destroy());
}

const rooms = new Map();
let lastNumber = 0;

function join(member, name) {
  if (member.room) member.room.members.delete(member.socket);
  if (!rooms.has(name)) rooms.set(name, { name, members: new Set(), offset: 0 });
  member.room = rooms.get(name);
  member.room.members.add(member.socket);
}

function broadcast(member, message) {
  for (const socket of member.room.members) {
    if (socket !== member.socket) socket.write(message);
  }
}

function heardText(member, line) {
  if (line.startsWith('/join ')) join(member, line.slice(6));
  else broadcast(member, `<${member.nick}> ${line}\n`);
}

function heardJson(member, line) {
  const message = JSON.parse(line);
  if (message.type === 'hello') {
    member.nick = message.nick;
    join(member, message.room);
  } else if (message.type === 'message') {
    const { text, room } = message;
    const offset = ++member.room.offset;
    const time = new Date().toISOString();
    broadcast(member, JSON.stringify({ type: 'message', room, offset, from: member.nick, text, time }) + '\n');
    member.socket.write(JSON.stringify({ type: 'ack', id: message.id, room, offset }) + '\n');
  }
}

function chat(socket) {
  const member = { socket, nick: `guest-${++lastNumber}`, room: null };
  let partial = '';
  join(member, 'lobby');
  socket.setEncoding('utf8');
  socket.on('data', (data) => {
    const lines = (partial + data).split('\n');
    partial = lines.pop();
    for (const line of lines) (json ? heardJson : heardText)(member, line);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => member.room.members.delete(socket));
}

const options = { noDelay: args.includes('--nodelay') };
const handler = args[0] === 'chat' ? chat : echo;
let server;
if (tlsAt >= 0) {
  options.cert = fs.readFileSync(args[tlsAt + 1]);
  options.key = fs.readFileSync(args[tlsAt + 2]);
  server = require('tls').createServer(options, handler);
  server.on('tlsClientError', () => {});
} else {
  server = require('net').createServer(options, handler);
}
server.listen(0, '127.0.0.1');
