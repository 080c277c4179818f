//! The chapters of the [guide](mcp_session_core::guide) that need a runtime.

#[doc = include_str!("guide/a_server_from_nothing.md")]
pub mod a_server_from_nothing {}

#[cfg_attr(feature = "axum", doc = include_str!("guide/behind_axum.md"))]
#[cfg_attr(not(feature = "axum"), doc = "Needs the feature `axum`, which is on by default.")]
pub mod behind_axum {}
