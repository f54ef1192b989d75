//! Who may talk to whom. Both ends of a connection prove themselves by certificates of one CA (mTLS), and every request carries a
//! token, whose role says what it may call. Both are read from one folder, and read again when they change.
//!
//! Invariants of absence: nothing here knows what a request means. What is not named in [`role::need`] is for viewers only, and what
//! has no valid token is refused.

pub mod connection;
pub mod credentials;
pub mod dial;
pub mod error;
pub mod guard;
pub mod issue;
pub mod role;
pub mod token;

pub use credentials::Credentials;
pub use dial::{Dialer, Line};
pub use error::AccessError;
pub use guard::Guard;
pub use role::{Caller, Role};
