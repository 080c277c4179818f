//! [`Proxy`]: a TCP proxy whose link can be cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Forwards connections to a port, on threads that end with their sockets.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    sockets: Vec<TcpStream>,
    accepted: usize,
}

impl Proxy {
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::<Mutex<State>>::default();
        let proxied = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = forward(client, to, &proxied);
            }
        });
        Self { port, state }
    }

    /// Ends all connections. New ones end at once.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().expect("no panic under it");
        state.cut = true;
        for socket in state.sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn heal(&self) {
        self.state.lock().expect("no panic under it").cut = false;
    }

    /// How many connections were forwarded.
    pub(crate) fn accepted(&self) -> usize {
        self.state.lock().expect("no panic under it").accepted
    }
}

fn forward(client: TcpStream, to: u16, state: &Mutex<State>) -> io::Result<()> {
    let mut state = state.lock().expect("no panic under it");
    if state.cut {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", to))?;
    state.accepted += 1;
    state.sockets.extend([client.try_clone()?, server.try_clone()?]);
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
