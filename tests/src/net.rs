//! Servers for the tests: a plain web server over a folder, and a proxy that does to answers what networks do.

pub mod http;
pub mod moto;
pub mod proxy;
pub mod web;
