// The chat of the documentation of `ws` ("Server broadcast"): what comes goes to every other member.
//
//   node server.js
'use strict';
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
const members = new Set();

server.on('connection', (socket) => {
  // The first message says who this is. Nobody is told.
  socket.once('message', () => {
    members.add(socket);
    socket.on('message', (data, isBinary) => {
      for (const member of members) {
        if (member !== socket) member.send(data, { binary: isBinary });
      }
    });
  });
  socket.on('error', () => {});
  socket.on('close', () => members.delete(socket));
});
