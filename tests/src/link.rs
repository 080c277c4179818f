//! [`Link`]: a TCP proxy before a server, whose link can be cut, stalled and moved, and may deliver late.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// How many bytes a new connection sends before the late bytes of an old one are delivered: more than a client needs to
/// introduce itself.
const AHEAD: usize = 32 * 1024;

/// Forwards connections to a port, on threads that end with their sockets.
#[derive(Debug)]
pub struct Link {
    /// The port of the proxy.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    to: u16,
    cut: bool,
    stalled: bool,
    /// Bytes to the server are kept back.
    held: bool,
    /// The ends of open connections: the client's and the server's.
    sockets: Vec<(TcpStream, TcpStream)>,
    /// Connections that were accepted.
    accepted: usize,
    /// Bytes of clients since the last cut.
    sent: usize,
    /// Bytes that were delivered late.
    late: usize,
}

impl Link {
    /// A link to this port.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared =
            Arc::new(Shared { state: Mutex::new(State { to, ..State::default() }), ..Shared::default() });
        let proxied = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = proxied.forward(client);
            }
        });
        Self { port, shared }
    }

    /// Ends all connections. New ones end at once.
    pub fn cut(&self) {
        self.change(|state| {
            state.cut = true;
            for (client, server) in state.sockets.drain(..) {
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
        });
    }

    /// Keeps back what clients send from now on. After [`cut_late`](Self::cut_late), it arrives late.
    pub fn hold(&self) {
        self.change(|state| state.held = true);
    }

    /// Like [`cut`](Self::cut), for the clients. What was held arrives once a new connection has sent its first bytes.
    pub fn cut_late(&self) {
        self.change(|state| {
            (state.cut, state.sent) = (true, 0);
            for (client, _) in state.sockets.drain(..) {
                let _ = client.shutdown(Shutdown::Both);
            }
        });
    }

    /// Accepts connections again.
    pub fn heal(&self) {
        self.change(|state| (state.cut, state.held, state.stalled) = (false, false, false));
    }

    /// Forwards nothing until [`heal`](Self::heal). Connections stay open.
    pub fn stall(&self) {
        self.change(|state| state.stalled = true);
    }

    /// Cuts, and leads to another port from now on.
    pub fn switch(&self, to: u16) {
        self.cut();
        self.change(|state| (state.to, state.cut) = (to, false));
    }

    /// How many connections were forwarded.
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    /// How many bytes were delivered late.
    pub fn late(&self) -> usize {
        self.shared.lock().late
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this holds.
    fn wait(&self, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let wait = self.changed.wait_while(self.lock(), |state| !holds(state));
        wait.unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        if state.cut {
            return Ok(());
        }
        let server = TcpStream::connect(("127.0.0.1", state.to))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        state.accepted += 1;
        state.sockets.push((client.try_clone()?, server.try_clone()?));
        let (up, down) = ((client.try_clone()?, server.try_clone()?), (server, client));
        let (shared, other) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || {
            let (client, server) = up;
            let _ = shared.upwards(client, &server);
            let _ = server.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            let (server, client) = down;
            let _ = other.downwards(server, &client);
            let _ = client.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    fn downwards(&self, mut server: TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let length = server.read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            drop(self.wait(|state| !state.stalled));
            client.write_all(&bytes[..length])?;
        }
    }

    fn upwards(&self, mut client: TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let (mut bytes, mut held) = (vec![0; 16 * 1024], Vec::new());
        loop {
            let length = client.read(&mut bytes)?;
            if length == 0 {
                break;
            }
            let mut state = self.wait(|state| !state.stalled);
            if state.held {
                held.extend_from_slice(&bytes[..length]);
                continue;
            }
            state.sent += length;
            drop(state);
            self.changed.notify_all();
            server.write_all(&held)?; // healed without a cut
            held.clear();
            server.write_all(&bytes[..length])?;
        }
        if !held.is_empty() {
            let mut state = self.wait(|state| !state.cut && state.sent >= AHEAD);
            state.late += held.len();
            drop(state);
            server.write_all(&held)?;
        }
        Ok(())
    }
}
