//! What an endpoint does for its sessions.

use crate::{
    cluster::writer::write,
    session::{Session, host::Host, registry::Registry},
};

impl Host for Registry {
    fn established(&self, session: &Session) {
        self.note_half_open(session);
    }

    fn has_effects(&self, session: &Session) {
        if let Some(node) = &self.env.node {
            node.spawn(write(session.clone(), node.clone()));
        }
    }

    fn left(&self, session: &Session) {
        self.remove(session);
    }
}
