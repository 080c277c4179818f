//! [`Balancer`]: a round-robin TCP proxy before the nodes. A node leaves the rotation when it refuses a connection, or its
//! probe does not say that it is ready. If the probe says nothing at all, its connections are cut too.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time,
};

/// The pace of the probes.
const PROBE: Duration = Duration::from_millis(50);

/// How long a probe may take.
const SILENCE: Duration = Duration::from_secs(2);

/// What a client gets while no node is ready.
const NOBODY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

/// The proxy; ends when dropped.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    nodes: Arc<Nodes>,
    accepts: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Nodes(Mutex<(usize, Vec<Backend>)>);

#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    ready: bool,
    cut: watch::Sender<()>,
    probe: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn start(bind: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(bind).await?;
        let (address, nodes) = (listener.local_addr()?, Arc::<Nodes>::default());
        let proxied = Arc::clone(&nodes);
        let accepts = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(forward(client, Arc::clone(&proxied)));
                }
            }
        });
        Ok(Self { address, nodes, accepts })
    }

    /// Adds a node. It is in the rotation once it is ready.
    pub(crate) fn add(&self, address: SocketAddr) {
        let probe = tokio::spawn(probe(address, Arc::clone(&self.nodes)));
        let backend = Backend { address, ready: false, cut: watch::Sender::new(()), probe };
        self.nodes.with(|_, nodes| nodes.push(backend));
    }

    pub(crate) fn remove(&self, address: SocketAddr) {
        self.nodes.with(|_, nodes| {
            nodes.retain(|node| {
                if node.address == address {
                    node.probe.abort();
                }
                node.address != address
            });
        });
    }

    /// How many nodes are in the rotation.
    pub(crate) fn ready(&self) -> usize {
        self.nodes.with(|_, nodes| nodes.iter().filter(|node| node.ready).count())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepts.abort();
        self.nodes.with(|_, nodes| nodes.drain(..).for_each(|node| node.probe.abort()));
    }
}

impl Nodes {
    fn with<T>(&self, act: impl FnOnce(&mut usize, &mut Vec<Backend>) -> T) -> T {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, nodes) = &mut *nodes;
        act(next, nodes)
    }

    /// The next node in turn, and what cuts its connections.
    fn next(&self) -> Option<(SocketAddr, watch::Receiver<()>)> {
        self.with(|next, nodes| {
            let ready: Vec<&Backend> = nodes.iter().filter(|node| node.ready).collect();
            *next += 1;
            let node = ready.get(*next % ready.len().max(1))?;
            Some((node.address, node.cut.subscribe()))
        })
    }

    fn set(&self, address: SocketAddr, ready: bool, cut: bool) {
        self.with(|_, nodes| {
            if let Some(node) = nodes.iter_mut().find(|node| node.address == address) {
                node.ready = ready;
                if cut {
                    node.cut.send_replace(());
                }
            }
        });
    }
}

async fn forward(mut client: TcpStream, nodes: Arc<Nodes>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut node, mut cut) = loop {
        let Some((address, cut)) = nodes.next() else {
            client.write_all(NOBODY).await?;
            client.shutdown().await?;
            // Closed without a reset: the client reads first.
            let mut rest = [0; 1_024];
            while client.read(&mut rest).await? > 0 {}
            return Ok(());
        };
        match TcpStream::connect(address).await {
            Ok(node) => break (node, cut),
            Err(_) => nodes.set(address, false, false),
        }
    };
    node.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_node, mut to_node) = node.split();
    // Whoever leaves takes the connection along.
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_node) => {}
        _ = tokio::io::copy(&mut from_node, &mut to_client) => {}
        _ = cut.changed() => {}
    }
    Ok(())
}

async fn probe(address: SocketAddr, nodes: Arc<Nodes>) {
    loop {
        let answer = time::timeout(SILENCE, is_ready(address)).await;
        let silent = answer.is_err();
        nodes.set(address, matches!(answer, Ok(Ok(true))), silent);
        time::sleep(PROBE).await;
    }
}

async fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut node = TcpStream::connect(address).await?;
    node.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    node.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
