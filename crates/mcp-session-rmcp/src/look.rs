//! The look into rmcp's `Peer`: whether somebody has kept a clone, and how many messages were put into its queue.
//!
//! rmcp has no accessor for either, but the `Debug` text of a `Peer` shows both, because tokio prints them for the sender of
//! its channel. That text is no API. If it changes, [`look`] returns `None`, the test below fails, and every peer is used
//! for one exchange and then dropped: slower, but nothing is left behind.

use rmcp::{Peer, RoleServer};

/// What the text of a peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// The number of clones of the peer, this one included.
    pub(crate) clones: usize,
    /// The number of messages that were ever put into its queue.
    pub(crate) pushed: usize,
}

pub(crate) fn look(peer: &Peer<RoleServer>) -> Option<Look> {
    read(&format!("{peer:?}"))
}

fn read(text: &str) -> Option<Look> {
    let pushed = number(text, "tail_position: ")?;
    let clones = number(text, "tx_count: ")?;
    Some(Look { clones, pushed })
}

/// The number behind `name`, which must occur once.
fn number(text: &str, name: &str) -> Option<usize> {
    let (_, rest) = text.split_once(name)?;
    if rest.contains(name) {
        return None;
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Minted;

    /// The canary: if it fails, rmcp or tokio has changed the text, and peers are no longer reused.
    #[tokio::test]
    async fn the_text_of_a_peer_shows_its_clones_and_its_queue() {
        let minted = Minted::new(&tokio::runtime::Handle::current());
        let peer = minted.peer();
        let first = look(peer).expect("the text of a `Peer` has changed: adapt `look`");
        assert_eq!(first, Look { clones: Minted::OWN_CLONES, pushed: 0 });
        let kept = peer.clone();
        assert_eq!(look(peer).expect("a look").clones, first.clones + 1);
        drop(kept);
        assert_eq!(look(peer).expect("a look").clones, first.clones);
        let _ = peer.notify_tool_list_changed().await;
        assert_eq!(look(peer).expect("a look").pushed, 1);
    }

    #[test]
    fn a_text_without_the_numbers_or_with_two_of_them_shows_nothing() {
        assert_eq!(read("tail_position: 3, tx_count: 2"), Some(Look { clones: 2, pushed: 3 }));
        for text in ["", "tail_position: 3", "tx_count: 2", "tail_position: x, tx_count: 2"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("tail_position: 1, tail_position: 2, tx_count: 2"), None);
    }
}
