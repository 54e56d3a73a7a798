// SPDX-License-Identifier: Apache-2.0
// Node's http: a server on a port, or a client that keeps its connections.
//
//   net-http.js serve PORT
//   net-http.js call HOST PORT SOCKETS REQUESTS    prints the right answers, and whether connections were used again and again
'use strict';
const http = require('http');
const [, , what, ...args] = process.argv;

if (what === 'serve') {
	const server = http.createServer((req, res) => {
		const parts = [];
		req.on('data', (d) => parts.push(d));
		req.on('end', () => res.end(Buffer.concat(parts)));
	});
	server.keepAliveTimeout = 60000;
	server.listen(Number(args[0]), '::', 1024);
} else {
	const [host, port, sockets, requests] = [args[0], ...args.slice(1).map(Number)];
	const agent = new http.Agent({ keepAlive: true, maxSockets: sockets });
	const ports = new Set();
	let right = 0, done = 0;
	const finish = () => {
		if (++done < requests) return;
		console.log(`${right} right, ${ports.size <= sockets ? 'connections kept' : ports.size + ' connections'}`);
		agent.destroy();
	};
	for (let i = 0; i < requests; i++) {
		const body = `request ${i} `.repeat(1 + (i * 37) % 500);
		const req = http.request({ host, port, agent, method: 'POST', path: '/' + i }, (res) => {
			let text = '';
			res.setEncoding('utf8');
			res.on('data', (d) => { text += d; });
			res.on('end', () => { right += text === body; finish(); });
		});
		req.on('socket', (s) => s.connecting ? s.once('connect', () => ports.add(s.localPort)) : ports.add(s.localPort));
		req.on('error', (e) => { console.log(e.message); finish(); });
		req.end(body);
	}
}
