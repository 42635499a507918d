//! The engine's gRPC edge, and its only tonic: the services of `amends.v1`, participants' sessions, health and reflection.
//!
//! Everything from outside is checked here for its shape, and answered with a precise refusal: resource names ([`name`]), page
//! tokens ([`token`]), trace contexts ([`trace_context`]), messages ([`convert`]). Deliberately not here: whether a thing
//! exists, what a saga does, configuration, who somebody is (authentication is
//! still to come: until then a server listens on loopback, and one token guards what overrides the engine).

pub mod convert;
pub mod limits;
pub mod name;
pub mod status;
pub mod token;
pub mod trace_context;

mod admin;
mod attach;
mod connection;
mod edge;
mod server;
mod service;
mod starts;
mod stream;

pub use admin::{AdminToken, AdminTokenError};
pub use server::{Error, Options, serve};
pub use status::{ERROR_DOMAIN, status_of};
