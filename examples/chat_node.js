// The chat of chat.py for Node, to compare the two: node examples/chat_node.js.
"use strict";

const net = require("node:net");
const readline = require("node:readline");
const { stripVTControlCharacters } = require("node:util");

const room = new Set();
let last = 0;

const server = net.createServer((member) => {
  const id = (last += 1);
  member.write(`You are guest ${id}. Others here: ${room.size}.\n`);
  room.add(member);
  readline.createInterface({ input: member }).on("line", (line) => {
    const text = stripVTControlCharacters(line).replace(/\p{Cc}/gu, "");
    for (const other of room) {
      if (other !== member) other.write(`<${id}> ${text}\n`);
    }
  });
  member.on("error", () => {}); // without a listener, one reset would end the program
  member.on("close", () => room.delete(member));
});

server.listen(Number(process.argv[2] ?? 8080), () => {
  console.log(`Listening on port ${server.address().port}`);
});
