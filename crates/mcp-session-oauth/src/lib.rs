#![doc = include_str!("../README.md")]

mod challenge;
mod error;
mod issuer;
mod jwks;
mod keys;
mod metadata;
mod scope;
mod server;
mod token;
mod trace;

pub use error::{ConfigError, KeysError};
pub use keys::{FetchError, Keys};
pub use scope::Scopes;
pub use server::{Builder, ResourceServer};
pub use token::AccessToken;
