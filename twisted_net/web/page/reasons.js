// Why the server closes connections: whether coming back is of use, and a sentence for people.
//
// A goodbye says both. Without one, the close frame has the code of one of these. They are those of
// twisted_net/policy/close_reasons.py; a test compares the two.

export const REASONS = {
  'peer-closed': [false, 'The peer closed the connection.'],
  'peer-reset': [true, 'The peer reset the connection or vanished.'],
  closed: [false, 'The connection is closed.'],
  quit: [false, 'Goodbye.'],
  idle: [true, 'Nothing was heard from you for too long.'],
  slow: [true, 'You read too slowly.'],
  'too-long': [false, 'A message is longer than the limit.'],
  unfinished: [true, 'A message took too long to arrive.'],
  'bad-input': [false, 'What you sent is not understood.'],
  full: [true, 'The server is full.'],
  'too-many': [true, 'Too many connections from your address.'],
  'too-fast': [true, 'Your address connects too often.'],
  denied: [false, 'Your address may not connect here.'],
  handshake: [true, 'The handshake failed or took too long.'],
  login: [false, 'The login failed.'],
  kicked: [false, 'An operator closed the connection.'],
  draining: [true, 'The server is restarting.'],
  upstream: [true, 'The service behind this one cannot be reached.'],
  failed: [true, 'The server made a mistake.'],
};
