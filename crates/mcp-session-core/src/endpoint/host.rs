//! What an endpoint does for its sessions.

use crate::session::{Session, host::Host, registry::Registry};

impl Host for Registry {
    fn established(&self, session: &Session) {
        self.note_half_open(session);
    }

    fn left(&self, session: &Session) {
        self.remove(session);
    }
}
