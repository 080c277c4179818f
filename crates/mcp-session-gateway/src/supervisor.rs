//! The parent of the gateway: it outlives it, and ends whatever is left.
