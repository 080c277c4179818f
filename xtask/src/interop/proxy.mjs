// A TCP proxy on the loopback interface that can lose all its connections at once.
import net from "node:net";

export class Proxy {
  #sockets = new Set();
  #server;

  // Creates a proxy in front of `url`; its `url` property is the address to use instead.
  static async before(url) {
    const proxy = new Proxy();
    const { hostname, port, pathname } = new URL(url);
    proxy.#server = net.createServer({ allowHalfOpen: true }, (client) => proxy.#relay(client, hostname, port));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}${pathname}`;
    return proxy;
  }

  // Cuts all connections; data in transit is lost. New connections are served as before.
  cut() {
    this.#sockets.forEach((socket) => socket.resetAndDestroy());
  }

  close() {
    this.#server.close();
    this.cut();
  }

  #relay(client, host, port) {
    const server = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [[client, server], [server, client]]) {
      this.#sockets.add(from);
      from.pipe(to); // passes the end of the input on
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        if (!from.readableEnded) to.destroy();
      });
    }
  }
}
