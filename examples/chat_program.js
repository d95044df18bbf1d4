// A netchat client without a library: JSON, one object per line, over a plain socket.
// Usage: node chat_program.js [PORT [NICK [TEXT]]]

const [port = '8080', nick = 'node', text = 'hello from node'] = process.argv.slice(2);
const socket = require('net').connect(Number(port), '127.0.0.1');
const send = (message) => socket.write(JSON.stringify(message) + '\n');

socket.on('connect', () => send({ type: 'hello', nick, room: 'lobby' }));
socket.on('error', (error) => console.error(error.message));

require('readline').createInterface({ input: socket }).on('line', (line) => {
  if (!line.startsWith('{')) return; // text for people, sent before our first line
  const message = JSON.parse(line);
  if (message.type === 'welcome') {
    console.log(`I am ${message.nick}`);
  } else if (message.type === 'joined') {
    console.log(`In ${message.room}: ${message.members.join(', ')}`);
    send({ type: 'message', room: message.room, text, id: 'first' });
  } else if (message.type === 'ack') {
    console.log(`Stored ${message.id} at ${message.offset}`);
  } else if (message.type === 'message') {
    console.log(`${message.from}: ${message.text}`);
  } else if (message.type === 'ping') {
    send({ type: 'pong' }); // or the server closes the connection
  } else if (message.type === 'error' || message.type === 'goodbye') {
    console.log(`${message.type}: ${message.text}`);
  }
});
